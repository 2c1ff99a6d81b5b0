"""Blobs with the bytes of another one."""

import logging
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from imgfs.blob.blob import Blob
from imgfs.blob.stamp import FileStamp
from imgfs.errors import FileChanged

logger = logging.getLogger("imgfs")

B = TypeVar("B", bound=Blob)


class WrappedBlob(Blob, Generic[B]):
    """The bytes of `blob`; closing it closes `blob`. Subclasses override what they do in another way."""

    def __init__(self, blob: B) -> None:
        self._blob = blob
        self.is_remote = blob.is_remote

    @property
    def size(self) -> int:
        return self._blob.size

    @property
    def known_size(self) -> int | None:
        return self._blob.known_size

    def pread(self, size: int, offset: int) -> bytes:
        return self._blob.pread(size, offset)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        return self._blob.try_pread(size, offset)

    def hold(self, offset: int, size: int, *, may_block: bool = True) -> Blob | None:
        return self._blob.hold(offset, size, may_block=may_block)

    def close(self) -> None:
        self._blob.close()

    def try_close(self) -> bool:
        return self._blob.try_close()


class HeldBlob(WrappedBlob[Blob]):
    """`blob`, together with what `Blob.hold` returned for it; closing it closes both."""

    def __init__(self, blob: Blob, held: Blob) -> None:
        super().__init__(blob)
        self._held = held

    def close(self) -> None:
        self._held.close()
        super().close()

    def try_close(self) -> bool:
        return self._held.try_close() and super().try_close()


class PaddedBlob(WrappedBlob[Blob]):
    """`blob`, with zeros for what files that became shorter lack, as GNU tar pads them; each such file is logged."""

    def __init__(self, blob: Blob) -> None:
        super().__init__(blob)
        self._logged: set[str] = set()

    def pread(self, size: int, offset: int) -> bytes:
        try:
            return super().pread(size, offset)
        except FileChanged as change:
            if str(change) not in self._logged:
                self._logged.add(str(change))
                logger.warning("%s; zeros are read for what is missing", change)
            return change.data.ljust(size, b"\0")

    def try_pread(self, size: int, offset: int) -> bytes | None:
        try:
            return super().try_pread(size, offset)
        except FileChanged:
            return None


class SharedBlob:
    """Hands out `share`s of `blob`, which is closed once the owner and every share have been closed.

    An archive's layers are ranges of one open file: the file closes when the last of them does.
    """

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self._users = 1
        self._lock = Lock()

    def share(self) -> Blob:
        """A blob with the same bytes. Raises ValueError once everything was closed."""
        share = self.try_share()
        if share is None:
            raise ValueError("shared blob is closed")
        return share

    def try_share(self) -> Blob | None:
        """Do as `share` does, but return None once everything was closed."""
        with self._lock:
            if not self._users:
                return None
            self._users += 1
        return _Share(self._blob, self)

    def close(self) -> None:
        """Close one share, or once, the owner's."""
        with self._lock:
            self._users -= 1
            last = not self._users
        if last:
            self._blob.close()

    def try_close(self) -> bool:
        """Close one share unless it is the last and closing the blob may block; returns whether it did."""
        with self._lock:
            if self._users > 1 or self._blob.try_close():
                self._users -= 1
                return True
            return False


class _Share(WrappedBlob[Blob]):
    def __init__(self, blob: Blob, shared: SharedBlob) -> None:
        super().__init__(blob)
        self._shared: SharedBlob | None = shared

    def stamp(self) -> FileStamp | None:
        return self._blob.stamp()

    def close(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()

    def try_close(self) -> bool:
        if self._shared is not None:
            if not self._shared.try_close():
                return False
            self._shared = None
        return True


class WatchedBlob(WrappedBlob[Blob]):
    """`blob`, which reports progress: `advance` gets the number of bytes each read went beyond all before."""

    def __init__(self, blob: Blob, advance: Callable[[int], None]) -> None:
        super().__init__(blob)
        self._advance = advance
        self._furthest = 0
        self._lock = Lock()

    def pread(self, size: int, offset: int) -> bytes:
        data = self._blob.pread(size, offset)
        with self._lock:
            further = offset + len(data) - self._furthest
            if further > 0:
                self._furthest += further
                self._advance(further)
        return data

    def try_pread(self, size: int, offset: int) -> bytes | None:
        return None  # `advance` may block
