"""A blob that tells how far it has been read, for showing progress."""

from collections.abc import Callable
from threading import Lock

from imgfs.blob.blob import Blob


class WatchedBlob(Blob):
    """`blob`, telling `advance` how many bytes further each read got than any before; closing it closes `blob`."""

    def __init__(self, blob: Blob, advance: Callable[[int], None]) -> None:
        self._blob = blob
        self._advance = advance
        self._furthest = 0
        self._lock = Lock()

    @property
    def size(self) -> int:
        return self._blob.size

    @property
    def known_size(self) -> int | None:
        return self._blob.known_size

    def pread(self, size: int, offset: int) -> bytes:
        data = self._blob.pread(size, offset)
        with self._lock:
            further = offset + len(data) - self._furthest
            if further > 0:
                self._furthest += further
                self._advance(further)
        return data

    def close(self) -> None:
        self._blob.close()
