"""Reading the symbolic links below a directory without changing their access times.

readlink(2) changes that of a link by whatever descriptor it is called: neither O_NOATIME of its directory nor O_PATH of
the link avoids it (tried on Linux 6.18). Through a mount with `noatime` it changes none. So the directory is mounted
once more, attached to no place, where the kernel has open_tree(2) and mount_setattr(2) and this process may call them
(Linux 5.12, CAP_SYS_ADMIN). Elsewhere links are read as they are.
"""

import ctypes
import os
from contextlib import suppress

from imgfs.blob.file import Descriptor
from imgfs.blob.resolve import Links, open_beneath
from imgfs.blob.root import Root

_OPEN_TREE, _MOUNT_SETATTR = 428, 442  # the same numbers on every architecture with unified system calls
_CLONE, _EMPTY_PATH = 1, 0x1000  # linux/mount.h, linux/fcntl.h
_NOATIME, _ANY_ATIME = 0x10, 0x70
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Attributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace"))


_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


class LinkReader(Descriptor):
    """The links below the directory `name` of `root`; belongs to one thread. Raises what `Root.descriptor` raises."""

    _inner = -1
    _path: bytes | None = None  # of the directory that is open as `_inner`

    def __init__(self, root: Root, name: str) -> None:
        fd = root.descriptor(name, _FOLDER)
        try:
            self._fd = _mounted_again(fd)
        finally:
            os.close(fd)

    def read(self, directory: int, path: bytes, name: bytes) -> bytes:
        """The target of the link `name` in a directory, which is open as `directory` and at `path` below this one.

        Raises OSError.
        """
        if self._fd >= 0:
            with suppress(OSError):  # something is mounted on the way, or it was renamed
                return os.readlink(name, dir_fd=self._folder(path))
        return os.readlink(name, dir_fd=directory)

    def close(self) -> None:
        self._leave()
        super().close()

    def _folder(self, path: bytes) -> int:
        if path != self._path:
            self._leave()
            self._inner = open_beneath(self._fd, path or b".", _FOLDER, Links.REFUSED)
            self._path = path
        return self._inner

    def _leave(self) -> None:
        inner, self._inner, self._path = self._inner, -1, None
        if inner >= 0:
            os.close(inner)


def _mounted_again(directory: int) -> int:
    """A descriptor of the same directory in a mount of its own with `noatime`; -1 if there can be none."""
    fd: int = _syscall(_OPEN_TREE, directory, b"", _CLONE | _EMPTY_PATH | os.O_CLOEXEC)
    if fd < 0:
        return -1
    attributes = _Attributes(set=_NOATIME, clear=_ANY_ATIME)
    size = ctypes.sizeof(attributes)
    if _syscall(_MOUNT_SETATTR, fd, b"", _EMPTY_PATH, ctypes.byref(attributes), ctypes.c_size_t(size)) < 0:
        os.close(fd)
        return -1
    return fd
