"""A blob in place of one in a registry: it counts what is read, and can be slow or fail."""

import time
from threading import Event, Lock

from imgfs.blob import Blob
from imgfs.errors import StoreError


class CountedBlob(Blob):
    """`data`; `reads` are the offsets and sizes of all reads. While `failing`, reads raise StoreError.

    Reads that reach the offset `stalled_from` wait until `goes_on` is set.
    """

    is_remote = True

    def __init__(self, data: bytes, delay: float = 0) -> None:
        self.data = data
        self.delay = delay
        self.failing = False
        self.stalled_from = len(data) + 1
        self.goes_on = Event()
        self.reads: list[tuple[int, int]] = []
        self.closed = 0
        self._lock = Lock()

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def total(self) -> int:
        """How many bytes were read."""
        return sum(size for _, size in self.reads)

    def pread(self, size: int, offset: int) -> bytes:
        assert not self.closed
        data = self.data[offset : offset + size]
        with self._lock:
            self.reads.append((offset, len(data)))
        time.sleep(self.delay)
        if data and offset + len(data) > self.stalled_from:
            assert self.goes_on.wait(60)
        if self.failing:
            raise StoreError("registry example:5000, blob sha256:…: it is not there")
        return data

    def close(self) -> None:
        self.closed += 1
