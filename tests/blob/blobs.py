"""Blobs for tests of blobs."""

from imgfs.blob import Blob


class Shy(Blob):
    """Bytes in memory that can be had in place only if `ready`, and whose size is known once it was asked for.

    Counts the reads, and how often it was closed.
    """

    def __init__(self, data: bytes, *, known: bool = True, ready: bool = True) -> None:
        self._data = data
        self._known = known
        self._ready = ready
        self.reads = 0
        self.closed = 0

    @property
    def size(self) -> int:
        self._known = True
        return len(self._data)

    @property
    def known_size(self) -> int | None:
        return len(self._data) if self._known else None

    def pread(self, size: int, offset: int) -> bytes:
        assert size >= 0
        assert offset >= 0
        assert not self.closed
        self.reads += 1
        return self._data[offset : offset + size]

    def try_pread(self, size: int, offset: int) -> bytes | None:
        return self.pread(size, offset) if self._ready else None

    def close(self) -> None:
        self.closed += 1
