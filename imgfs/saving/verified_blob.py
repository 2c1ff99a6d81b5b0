"""A blob that is compared with its digest while a reader goes through it in order.

The kernel asks for what lies ahead in several requests at a time, so reads may come a little out of order. Of a reader
that reads here and there, nothing can be compared.
"""

import hashlib
from threading import Lock

from imgfs.blob import Blob, WrappedBlob
from imgfs.digest import Digest
from imgfs.errors import Corrupt

_AHEAD = 16 << 20  # bytes that are kept until those before them have been read


class VerifiedBlob(WrappedBlob[Blob]):
    """`blob`, which should have `digest`; `name` is what errors call it. Closing it closes `blob`.

    If it has another digest, the read that completes all of its bytes raises Corrupt, as do all after that.
    """

    def __init__(self, blob: Blob, digest: Digest, name: str) -> None:
        super().__init__(blob)
        self._digest = digest
        self._name = name
        self._hash = hashlib.new(digest.algorithm)
        self._hashed = 0
        self._ahead: dict[int, bytes] = {}  # by offset
        self._kept = 0  # bytes of them
        self._is_right = False
        self._lock = Lock()

    def pread(self, size: int, offset: int) -> bytes:
        data = super().pread(size, offset)
        if not self._is_right:
            with self._lock:
                self._pass(data, offset)
        return data

    def try_pread(self, size: int, offset: int) -> bytes | None:
        return super().try_pread(size, offset) if self._is_right else None

    def _pass(self, data: bytes, offset: int) -> None:
        """Take the bytes at an offset, and those kept that follow them."""
        if offset > self._hashed:
            if self._kept + len(data) <= _AHEAD and offset not in self._ahead:
                self._ahead[offset] = data
                self._kept += len(data)
            return
        self._add(data, offset)
        for start in sorted(self._ahead):
            if start > self._hashed:
                break
            kept = self._ahead.pop(start)
            self._kept -= len(kept)
            self._add(kept, start)
        if self._hashed == self.size:
            found = f"{self._digest.algorithm}:{self._hash.hexdigest()}"
            if found != self._digest:
                raise Corrupt(f"{self._name}: failed to verify, its {self._hashed} bytes are {found}")
            self._is_right = True

    def _add(self, data: bytes, offset: int) -> None:
        new = memoryview(data)[self._hashed - offset :]
        self._hash.update(new)
        self._hashed += len(new)
