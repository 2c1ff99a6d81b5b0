"""The files under a directory, opened so that no name leads out of it, whatever symbolic links lie there.

The directory is held open: it is the same one after it was renamed or replaced. Where the kernel has openat2(2)
it resolves names as if the directory were the root; elsewhere names are walked step by step and links refused.
"""

import ctypes
import errno
import os
import posixpath
import stat
from collections.abc import Callable
from functools import cache

from imgfs.blob.descriptor import Descriptor
from imgfs.errors import StoreError

# O_NONBLOCK: a FIFO planted there must not hang the open
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY

_OPENAT2 = 437  # the same number on every architecture that came with unified system calls
_RESOLVE_NO_MAGICLINKS, _RESOLVE_IN_ROOT, _RESOLVE_CACHED = 0x02, 0x10, 0x20  # linux/openat2.h


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW = _How(_FLAGS, 0, _RESOLVE_NO_MAGICLINKS | _RESOLVE_IN_ROOT)
_HOW_NOW = _How(_FLAGS, 0, _RESOLVE_NO_MAGICLINKS | _RESOLVE_IN_ROOT | _RESOLVE_CACHED)
_HOW_POINTER, _HOW_NOW_POINTER, _HOW_SIZE = ctypes.byref(_HOW), ctypes.byref(_HOW_NOW), ctypes.sizeof(_HOW)
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)


class FileTree(Descriptor):
    """Regular files under the directory `path`, by names relative to it. Safe to use from several threads.

    Files already open stay readable after it is closed.

    Raises OSError if `path` is no directory that can be opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
        self._open: Callable[[int, bytes], int] = open_in_root if has_openat2() else open_step_by_step

    def open(self, name: bytes, *, may_block: bool = True) -> tuple[int, int]:
        """A descriptor of the file called `name`, which the caller closes, and its size in bytes now.

        Raises OSError, or StoreError if it is not a regular file. Unless it `may_block`, raises BlockingIOError where
        the disk would have to be waited for, or where that cannot be told.
        """
        fd = self._open(self._fd, name) if may_block else open_now(self._fd, name)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise StoreError("not a regular file")
        return fd, status.st_size


def open_in_root(directory: int, name: bytes) -> int:
    """Open `name` as a process would whose root directory is `directory`; it may not be a link itself."""
    return _openat2(directory, name, _HOW_POINTER)


def open_now(directory: int, name: bytes) -> int:
    """Open as `open_in_root` does; raises BlockingIOError unless the kernel has all it takes in memory."""
    try:
        return _openat2(directory, name, _HOW_NOW_POINTER)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM, errno.EINVAL):  # no openat2, or one before Linux 5.12
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
        raise


def _openat2(directory: int, name: bytes, how: object) -> int:
    if b"\0" in name:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    fd: int = _syscall(_OPENAT2, directory, name, how, _HOW_SIZE)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return fd


def open_step_by_step(directory: int, name: bytes) -> int:
    """Open `name` under `directory`, refusing every link on the way."""
    if b"\0" in name:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    *folders, last = posixpath.normpath(b"/" + name).strip(b"/").split(b"/")
    here = directory
    try:
        for folder in folders:
            below = os.open(folder, os.O_PATH | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            if here != directory:
                os.close(here)
            here = below
        return os.open(last, _FLAGS, dir_fd=here)
    finally:
        if here != directory:
            os.close(here)


@cache
def has_openat2() -> bool:
    """Whether this kernel lets us call openat2(2)."""
    _syscall(_OPENAT2, -1, b"", _HOW_POINTER, _HOW_SIZE)
    return ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM, errno.E2BIG)
