"""Who owns an open file descriptor."""

import os


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
