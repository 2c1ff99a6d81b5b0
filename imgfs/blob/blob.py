"""What everything readable is: a size and bytes at an offset.

Implementations know where their bytes come from; callers do not. Nothing here knows of tars, images or FUSE.
"""

from abc import ABC, abstractmethod
from typing import Self

MAX_SIZE = (1 << 63) - 1
"""The largest size in bytes that a file can have, so that system calls can tell of it."""


class Blob(ABC):
    """Immutable bytes, readable at any offset, by several threads at once."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The exact size in bytes; may block until it is known. Raises what `pread` raises."""

    @property
    def known_size(self) -> int | None:
        """The exact size if it is known without reading anything, else None. Never blocks."""
        return self.size

    @abstractmethod
    def pread(self, size: int, offset: int) -> bytes:
        """Read `size` bytes at `offset`; fewer only where the blob ends, none at or past its end.

        May block. Raises ImgfsError, or OSError from the operating system. Not to be called after `close`.
        """

    def try_pread(self, size: int, offset: int) -> bytes | None:
        """Read as `pread` does if that cannot block, else answer None without having done anything."""
        return None

    def close(self) -> None:  # noqa: B027  # most blobs hold nothing to let go of
        """Let go of what the blob holds; a second call does nothing."""

    def try_close(self) -> bool:
        """Do as `close` does if that cannot block, else answer False without having done anything."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
