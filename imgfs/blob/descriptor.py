"""Who owns an open file descriptor, and who decides what is read from one."""

import os
import stat

ANYONE = -1


class Descriptor:
    """Owns the descriptor `_fd`: it is closed once, at the latest when nobody holds the owner any more."""

    _fd = -1

    def close(self) -> None:
        """Close the descriptor; doing so again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


def writer_of(status: os.stat_result) -> int:
    """The user who decides what a file or directory holds: its owner, or `ANYONE` if all may write to it."""
    return ANYONE if status.st_mode & stat.S_IWOTH else status.st_uid
