"""A blob that cannot be read at times."""

from imgfs.blob import Blob


class FailingBlob(Blob):
    """`data`, of which reads that reach past `limit` raise OSError while `failing` is set."""

    def __init__(self, data: bytes, limit: int) -> None:
        self._data = data
        self._limit = limit
        self.failing = True
        self.reads = 0
        self.closed = False

    @property
    def size(self) -> int:
        return len(self._data)

    def pread(self, size: int, offset: int) -> bytes:
        self.reads += 1
        if self.failing and offset + size > self._limit:
            raise OSError(5, "the disk is on fire")
        return self._data[offset : offset + size]

    def close(self) -> None:
        self.closed = True
