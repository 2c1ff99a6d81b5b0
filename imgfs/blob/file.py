"""A local file, and the owner of a file descriptor.

A file is opened at once, so its bytes stay readable after it is unlinked or replaced.
"""

import errno
import os
import stat
from threading import local

from imgfs.blob.blob import Blob
from imgfs.blob.stamp import FileStamp
from imgfs.errors import StoreError

# O_NONBLOCK: opening a FIFO planted in a store must not block, nor a terminal become this process's controlling one
READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_LARGEST_BUFFER = 2 << 20  # bytes

ANYONE = -1
"""In place of a user ID: all users."""


class Descriptor:
    """Owns the descriptor `_fd`, which is closed once, at the latest with the last reference to its owner."""

    _fd = -1

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def fileno(self) -> int:
        """The open descriptor, for code that uses it by other means; it stays this object's to close."""
        return self._fd

    def __del__(self) -> None:
        self.close()


class FileBlob(Descriptor, Blob):
    """A blob over a regular file, opened read-only.

    `fd` is a descriptor that is open already and is now this blob's to close. Without one, `path` is opened as a user
    gives it on the command line, following links, so a file in a store is opened by `Root.open` instead. `status` is
    that of the file as it was opened, and `writer` is as `writer_of` returns it.

    Raises StoreError if it is not a regular file, OSError if it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], fd: int | None = None) -> None:
        self.path = os.fspath(path)
        self._fd = os.open(self.path, READ_FLAGS) if fd is None else fd
        self.status = status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise StoreError(f"{self.path}: not a regular file")
        self._size = status.st_size
        self.writer = writer_of(status)

    @property
    def size(self) -> int:
        return self._size

    def stamp(self) -> FileStamp:
        return FileStamp.of(os.fstat(self._fd))

    def pread(self, size: int, offset: int) -> bytes:
        size = min(size, self._size - offset)
        if size <= 0:
            return b""
        data = os.pread(self._fd, size, offset)
        if len(data) == size:
            return data
        parts = [data]
        missing = size - len(data)
        while missing:
            data = os.pread(self._fd, missing, offset + size - missing)
            if not data:
                raise StoreError(f"{self.path}: file became shorter while it was read")
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        """Read what the kernel has in memory."""
        size = min(size, self._size - offset)
        if size <= 0:
            return b""
        buffer = _BUFFERS.of(size)
        try:
            got = os.preadv(self._fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
                return None
            raise
        return bytes(buffer) if got == size else None


class _Buffers(local):
    """A buffer for each thread, as filling a new one with zeros first takes as long as reading into it."""

    _buffer = memoryview(b"")

    def of(self, size: int) -> memoryview:
        """The first `size` bytes of this thread's buffer."""
        if size > _LARGEST_BUFFER:
            return memoryview(bytearray(size))
        if not self._buffer:
            self._buffer = memoryview(bytearray(_LARGEST_BUFFER))
        return self._buffer[:size]


_BUFFERS = _Buffers()


def writer_of(status: os.stat_result) -> int:
    """The user who controls the content of a file or directory: its owner, or `ANYONE` if all may write to it."""
    return ANYONE if status.st_mode & stat.S_IWOTH else status.st_uid
