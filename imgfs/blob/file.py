"""A local file.

The descriptor is opened at once, so the bytes stay readable after the file is unlinked or replaced.
"""

import errno
import os
import stat

from imgfs.blob.blob import Blob
from imgfs.blob.descriptor import Descriptor, writer_of
from imgfs.errors import StoreError

# O_NONBLOCK: a FIFO planted in a store must not hang the open, nor a terminal become this process's own
READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class FileBlob(Descriptor, Blob):
    """A blob over a regular file, opened read-only.

    `fd` is a descriptor that is open already and now this blob's to close; without one, `path` is opened as a user
    of the command line gives it, links and all, so what lies in a store is opened by `Root.open`. `writer` is as
    `writer_of` has it.

    Raises StoreError if it is not a regular file, OSError if it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], fd: int | None = None) -> None:
        self.path = os.fspath(path)
        self._fd = os.open(self.path, READ_FLAGS) if fd is None else fd
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise StoreError(f"{self.path}: not a regular file")
        self._size = status.st_size
        self.writer = writer_of(status)

    @property
    def size(self) -> int:
        return self._size

    def fileno(self) -> int:
        """The open descriptor, for code that reads it by other means; it stays this blob's to close."""
        return self._fd

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
        size = min(size, self._size - offset)
        if size <= 0:
            return b""
        buffer = bytearray(size)
        try:
            got = os.preadv(self._fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
                return None
            raise
        return bytes(buffer) if got == size else None
