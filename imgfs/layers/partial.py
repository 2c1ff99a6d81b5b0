"""A file in the cache that is still being written.

It is locked while it is open, so that nobody takes it for what a process left behind that was killed.
"""

import fcntl
import os
import tempfile
from contextlib import suppress

PREFIX = "partial-"


class Partial:
    """A new file in `folder` that nobody finds yet; `fd` is open for reading and writing. Raises OSError."""

    def __init__(self, folder: str) -> None:
        self.fd, path = tempfile.mkstemp(dir=folder, prefix=PREFIX)
        self._path: str | None = path
        with suppress(OSError):  # some network file systems lock nothing
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def place(self, path: str) -> None:
        """Give it the name that others find it by, as the one used last; `fd` stays open. Raises OSError."""
        if self._path is not None:
            os.utime(self.fd)
            os.rename(self._path, path)
            self._path = None

    def close(self) -> None:
        """Let go of it; what was not placed is removed."""
        path, self._path = self._path, None
        if path is not None:
            with suppress(OSError):
                os.unlink(path)
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def left_behind(path: str) -> bool:
    """Whether the process that was writing a partial file is gone. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
