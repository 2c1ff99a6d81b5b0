"""Many similar small pieces of bytes, such as tar headers, kept compressed in memory.

Pieces are appended, and read by their offset in the whole.
"""

from threading import Lock

from isal import isal_zlib

_CHUNK = 128 << 10


class PackedBytes:
    """Bytes in memory, compressed in chunks. Filled by one thread; after `finish`, read by any number."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._filling = bytearray()
        self._lock = Lock()
        self._last: tuple[int, bytes] = (-1, b"")
        self.size = 0

    @property
    def footprint(self) -> int:
        """About how many bytes of memory it takes."""
        return sum(map(len, self._chunks)) + min(self.size, _CHUNK)

    def append(self, piece: bytes | bytearray) -> None:
        """Add bytes to the end."""
        self._filling += piece
        self.size += len(piece)
        while len(self._filling) >= _CHUNK:
            self._chunks.append(isal_zlib.compress(self._filling[:_CHUNK], 1))
            del self._filling[:_CHUNK]

    def finish(self) -> None:
        """End appending."""
        if self._filling:
            self._chunks.append(isal_zlib.compress(self._filling, 1))
            self._filling.clear()

    def read(self, size: int, offset: int) -> bytes:
        """`size` bytes at `offset`, which must exist."""
        if not size:
            return b""
        first, last = offset // _CHUNK, (offset + size - 1) // _CHUNK
        if first == last:
            start = offset - first * _CHUNK
            return self._chunk(first)[start : start + size]
        pieces = [self._chunk(number) for number in range(first, last + 1)]
        start = offset - first * _CHUNK
        return b"".join(pieces)[start : start + size]

    def _chunk(self, number: int) -> bytes:
        with self._lock:
            last, data = self._last
        if last != number:
            data = isal_zlib.decompress(self._chunks[number])
            with self._lock:
                self._last = (number, data)
        return data
