"""The interface of everything readable, a size and bytes at an offset, and its plainest forms.

Implementations know where their bytes come from; callers do not. Nothing here knows of tars, images or FUSE.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self

from imgfs.blob.stamp import FileStamp
from imgfs.errors import Corrupt

MAX_SIZE = (1 << 63) - 1
"""The largest size in bytes that a file can have, as system calls take it."""


class Blob(ABC):
    """Immutable bytes, readable at any offset, by several threads at once."""

    is_remote: bool = False
    """Whether reading fetches bytes over a network: then as few as possible are read, and each is verified."""

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

        May block. Raises ImgfsError, or OSError from the operating system. Must not be called after `close`.
        """

    def try_pread(self, size: int, offset: int) -> bytes | None:
        """Read as `pread` does if that cannot block, else return None without having done anything."""
        return None

    def hold(self, offset: int, size: int, *, may_block: bool = True) -> "Blob | None":
        """Hold open the file that `size` bytes from `offset` are read from, until what this returns is closed.

        For a blob that opens files as it is read. None if there is no such file, as it is open anyway, or if too many
        are open. Raises what `pread` raises; unless it `may_block`, BlockingIOError where it would have to.
        """
        return None

    def stamp(self) -> FileStamp | None:
        """The stamp of the file that these bytes are, None if they are not a file. Raises OSError."""
        return None

    def close(self) -> None:  # noqa: B027  # most blobs hold nothing to release
        """Release what the blob holds; a second call does nothing."""

    def try_close(self) -> bool:
        """Do as `close` does if that cannot block, else return False without having done anything."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def blob_chunks(blob: Blob, size: int = 1 << 20) -> Iterator[bytes]:
    """All bytes of a blob in order, `size` at a time; the blob stays open. Raises what `pread` raises."""
    offset = 0
    while chunk := blob.pread(size, offset):
        yield chunk
        offset += len(chunk)


class MemoryBlob(Blob):
    """A blob over bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def pread(self, size: int, offset: int) -> bytes:
        return self._data[offset : offset + size]

    def try_pread(self, size: int, offset: int) -> bytes:
        return self.pread(size, offset)

    def try_close(self) -> bool:
        return True


class Slice(Blob):
    """`size` bytes of `blob` from `offset`, such as a member of an archive; closing it closes `blob`.

    Raises Corrupt if the range does not lie inside the blob.
    """

    def __init__(self, blob: Blob, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > blob.size:
            raise Corrupt(f"range {offset}+{size} lies outside its {blob.size} bytes")
        self.blob = blob
        self.offset = offset
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    def pread(self, size: int, offset: int) -> bytes:
        size = min(size, self._size - offset)
        return self.blob.pread(size, self.offset + offset) if size > 0 else b""

    def try_pread(self, size: int, offset: int) -> bytes | None:
        size = min(size, self._size - offset)
        return self.blob.try_pread(size, self.offset + offset) if size > 0 else b""

    def close(self) -> None:
        self.blob.close()

    def try_close(self) -> bool:
        return self.blob.try_close()
