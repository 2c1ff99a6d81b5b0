"""The files under a directory of a store, opened so that no symbolic link leads out of it.

The directory is held open: it stays the same one after it is renamed or replaced. Names are resolved as if it were
the root directory, as by the engine that wrote the files.
"""

import ctypes
import errno
import os

from imgfs.blob.file import READ_FLAGS, Descriptor, FileBlob
from imgfs.blob.resolve import Links, open_beneath, open_now
from imgfs.blob.root import Root

_FLAGS = READ_FLAGS | os.O_NOFOLLOW
# values of f_type: statfs(2) and linux/magic.h
_LOCAL = {
    0xEF53,  # ext2, ext3, ext4
    0x58465342,  # XFS
    0x9123683E,  # Btrfs
    0xF2F52010,  # F2FS
    0x01021994,  # tmpfs
}
_STATFS_SIZE = 256  # bytes, more than any struct statfs has

_fstatfs = ctypes.CDLL(None, use_errno=True).fstatfs
_fstatfs.argtypes = (ctypes.c_int, ctypes.c_char_p)


class FileTree(Descriptor):
    """Regular files under the directory `name` of `root`, by names relative to it. Safe to use from several threads.

    Files already open stay readable after it is closed.

    Raises OSError or StoreError if that is not a directory that can be opened.
    """

    def __init__(self, root: Root, name: str = "") -> None:
        self.path = root.path_of(name)
        self._fd = root.descriptor(name, os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY)
        self.is_local = _is_local(self._fd)

    def open(self, name: bytes, *, may_block: bool = True) -> FileBlob:
        """The file called `name`.

        Raises OSError, or StoreError if it is not a regular file. Unless it `may_block`, raises BlockingIOError if
        the disk may have to be waited for, as always on a file system that is not local.
        """
        if not (may_block or self.is_local):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        fd = (open_beneath if may_block else open_now)(self._fd, name, _FLAGS, Links.CHROOT)
        kind = _LocalFile if self.is_local else FileBlob
        return kind(f"{self.path}/{os.fsdecode(name)}", fd)


class _LocalFile(FileBlob):
    """A file on a local file system: closing it frees no blocks while it has a name, so that takes no time."""

    def try_close(self) -> bool:
        if self._fd >= 0 and not os.fstat(self._fd).st_nlink:
            return False
        self.close()
        return True


def _is_local(fd: int) -> bool:
    """Whether an open file or directory is known to be on a local file system.

    No call on one waits for a server or for another process.
    """
    status = ctypes.create_string_buffer(_STATFS_SIZE)
    if _fstatfs(fd, status):
        return False
    return ctypes.c_long.from_buffer(status).value in _LOCAL
