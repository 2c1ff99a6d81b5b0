"""A file with holes, of which only some parts are stored."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from imgfs.blob.blob import Blob
from imgfs.errors import Corrupt


class SparseBlob(Blob):
    """`size` bytes, of which `parts`, as (offset, length) in order, lie end to end in `data`; the rest is zeros.

    A read reads the data once, however many parts it touches. Closing it closes `data`.
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
        ranges = list(self._ranges(offset, end))
        if ranges:
            start, stop = ranges[0][2], ranges[-1][2] + ranges[-1][1]
            data = self._data.pread(stop - start, start)
            if len(data) < stop - start:
                raise Corrupt(f"the data of a sparse file ends before its offset {stop}")
            for low, length, place in ranges:
                buffer[low - offset : low - offset + length] = data[place - start : place - start + length]
        return bytes(buffer)

    def _ranges(self, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The stored ranges between two offsets: offset, length, and where in the data, which has them end to end."""
        first = max(bisect_right(self._offsets, offset) - 1, 0)
        for part in range(first, bisect_right(self._offsets, end)):
            start, stop = self._offsets[part], self._offsets[part] + self._lengths[part]
            low, high = max(start, offset), min(stop, end)
            if low < high:
                yield low, high - low, self._stored[part] + low - start

    def close(self) -> None:
        self._data.close()

    def try_close(self) -> bool:
        return self._data.try_close()
