"""A file with holes, of which only some parts are stored."""

from bisect import bisect_right
from collections.abc import Sequence

from imgfs.blob.blob import Blob


class SparseBlob(Blob):
    """`size` bytes, of which `parts`, as (offset, length) in order, lie end to end in `data`; the rest is zeros.

    Closing it closes `data`.
    """

    def __init__(self, data: Blob, parts: Sequence[tuple[int, int]], size: int) -> None:
        self._data = data
        self._size = size
        self._offsets = [offset for offset, _ in parts]
        self._lengths = [length for _, length in parts]
        self._stored = [0]  # where each part lies in the data
        for length in self._lengths:
            self._stored.append(self._stored[-1] + length)

    @property
    def size(self) -> int:
        return self._size

    def pread(self, size: int, offset: int) -> bytes:
        end = min(offset + size, self._size)
        if offset >= end:
            return b""
        buffer = bytearray(end - offset)
        first = max(bisect_right(self._offsets, offset) - 1, 0)
        for part in range(first, bisect_right(self._offsets, end)):
            start, stop = self._offsets[part], self._offsets[part] + self._lengths[part]
            low, high = max(start, offset), min(stop, end)
            if low < high:
                piece = self._data.pread(high - low, self._stored[part] + low - start)
                buffer[low - offset : high - offset] = piece
        return bytes(buffer)

    def close(self) -> None:
        self._data.close()
