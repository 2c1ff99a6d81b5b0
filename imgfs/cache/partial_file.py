"""A file in the cache that is still being written.

It is locked while it is open, so that no process takes it for the remains of one that was killed.
"""

import fcntl
import os
import secrets
from contextlib import suppress

from imgfs.blob import Folder

PREFIX = "partial-"


class Partial:
    """A new file in `folder` that has no name for readers yet; `fd` is open for reading and writing. Raises OSError."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._name: str | None = None
        while self._name is None:
            name = f"{PREFIX}{secrets.token_hex(8)}"
            self.fd = folder.create(name, 0o600)
            with suppress(OSError):  # some network file systems lock nothing
                fcntl.flock(self.fd, fcntl.LOCK_EX)
            if os.fstat(self.fd).st_nlink:
                self._name = name
            else:  # removed before it was locked, as one that was left behind
                os.close(self.fd)

    def place(self, name: str) -> None:
        """Give it the name that readers look for, marked as used now; `fd` stays open. Raises OSError."""
        if self._name is not None:
            os.utime(self.fd)
            self._folder.rename(self._name, self._folder, name)
            self._name = None

    def close(self) -> None:
        """Close it; it is removed unless it was placed."""
        name, self._name = self._name, None
        if name is not None:
            with suppress(OSError):
                self._folder.unlink(name)
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def left_behind(folder: Folder, name: str) -> bool:
    """Whether the process that was writing a partial file has ended. Raises OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    fd = os.open(name, flags, dir_fd=folder.fileno())
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
