"""A blob that several readers go through at about the same time, in order, so that each byte is fetched once."""

from collections import deque
from threading import Lock

from imgfs.blob.blob import Blob
from imgfs.blob.wrappers import WrappedBlob

_BLOCK = 1 << 20
_KEPT = 48 << 20  # bytes that stay readable behind what was fetched last
_FAR = 32 << 20  # bytes before that, up to which everything is fetched in order


class StreamedBlob(WrappedBlob[Blob]):
    """`blob`, fetched in order; the last 48 MiB stay in memory. A read elsewhere fetches what it asks for."""

    def __init__(self, blob: Blob) -> None:
        super().__init__(blob)
        self._lock = Lock()  # held while fetching: other readers wait for the same bytes, or those before
        self._kept: deque[bytes] = deque()
        self._kept_from = self._fetched = 0

    def pread(self, size: int, offset: int) -> bytes:
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        with self._lock:
            if self._kept_from <= offset <= self._fetched + _FAR:
                while self._fetched < offset + size and self._fetch():
                    pass
                if self._kept_from <= offset:
                    return self._collect(offset, offset + size)
        return super().pread(size, offset)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        return None

    def _fetch(self) -> bool:
        block = super().pread(_BLOCK, self._fetched)
        self._kept.append(block)
        self._fetched += len(block)
        while self._fetched - self._kept_from > _KEPT:
            self._kept_from += len(self._kept.popleft())
        return bool(block)

    def _collect(self, offset: int, end: int) -> bytes:
        pieces, start = [], self._kept_from
        for block in self._kept:
            if start < end and offset < start + len(block):
                pieces.append(block[max(offset - start, 0) : end - start])
            start += len(block)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
