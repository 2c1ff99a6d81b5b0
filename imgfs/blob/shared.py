"""One blob with many users, each of whom closes only their own share of it.

An archive's layers are ranges of one open file: the file closes when the last of them does.
"""

from threading import Lock

from imgfs.blob.blob import Blob


class SharedBlob:
    """Hands out `share`s of `blob`; the blob is closed once the owner and every share have been closed."""

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self._users = 1
        self._lock = Lock()

    def share(self) -> Blob:
        """A blob with the same bytes. Raises ValueError once everything was closed."""
        with self._lock:
            if not self._users:
                raise ValueError("shared blob is closed")
            self._users += 1
        return _Share(self._blob, self)

    def close(self) -> None:
        """Let go of the owner's own share; called once."""
        with self._lock:
            self._users -= 1
            last = not self._users
        if last:
            self._blob.close()

    def try_close(self) -> bool:
        """Let go of one share, unless it is the last; answers whether it did."""
        with self._lock:
            if self._users > 1:
                self._users -= 1
                return True
            return False


class _Share(Blob):
    def __init__(self, blob: Blob, shared: SharedBlob) -> None:
        self._blob = blob
        self._shared: SharedBlob | None = shared

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
