"""Bytes that are in memory already."""

from imgfs.blob.blob import Blob


class MemoryBlob(Blob):
    """A blob over a bytes object."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def pread(self, size: int, offset: int) -> bytes:
        return self._data[offset : offset + size]

    def try_pread(self, size: int, offset: int) -> bytes:
        return self.pread(size, offset)

    def try_close(self) -> bool:
        return True
