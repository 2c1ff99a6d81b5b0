"""Opening a name beneath a directory that is held open, so that no symbolic link and no `..` leads out of it.

openat2(2) does it in one call, so that no concurrent rename can change what a name means. Where the kernel has no
openat2, or a seccomp filter refuses it, the name is walked one component at a time and links are read here.

Reading what was opened changes no access time (O_NOATIME), unless it is another user's and this one is not root.
"""

import ctypes
import enum
import errno
import os
import stat
from functools import cache

_OPENAT2 = 437  # the same number on every architecture that came with unified system calls
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH, _IN_ROOT, _CACHED = 0x02, 0x04, 0x08, 0x10, 0x20  # linux/openat2.h
_MAX_LINKS = 40  # the kernel's limit in one path
_MAX_RACES = 1000  # how often a call is repeated that a concurrent rename made fail
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Links(enum.Enum):
    """How symbolic links below the directory are treated; the values are flags of openat2."""

    REFUSED = _NO_MAGICLINKS | _BENEATH | _NO_SYMLINKS
    """None is followed."""
    INSIDE = _NO_MAGICLINKS | _BENEATH
    """They are followed as long as they are relative and stay inside."""
    CHROOT = _NO_MAGICLINKS | _IN_ROOT
    """They are followed as by a process whose root directory it is."""


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW_SIZE = ctypes.sizeof(_How)
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)


def open_beneath(directory: int, name: bytes, flags: int, links: Links) -> int:
    """A descriptor of the file `name` below `directory`, opened with `flags` of open(2).

    Raises OSError without a file name: ELOOP for a link that is refused, EXDEV for a name that leads out.
    """
    if not has_openat2():
        return open_step_by_step(directory, name, flags, links)
    for _ in range(_MAX_RACES):
        try:
            return _openat2(directory, name, flags, links.value)
        except (BlockingIOError, InterruptedError):
            continue
    raise _error(errno.EAGAIN)


def open_now(directory: int, name: bytes, flags: int, links: Links) -> int:
    """Open as `open_beneath` does; raises BlockingIOError unless the kernel has all that it needs in memory."""
    try:
        return _openat2(directory, name, flags, links.value | _CACHED)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM, errno.EINVAL):  # no openat2, or one before Linux 5.12
            raise _error(errno.EAGAIN) from None
        raise


def open_step_by_step(directory: int, name: bytes, flags: int, links: Links) -> int:
    """What `open_beneath` does, by openat(2) alone."""
    if b"\0" in name:
        raise _error(errno.EINVAL)
    if not name:
        raise _error(errno.ENOENT)
    walk = _Walk(directory, links)
    try:
        return walk.open(name, flags | os.O_CLOEXEC)
    except OSError as error:
        raise _error(error.errno or errno.EIO) from None
    finally:
        walk.leave()


@cache
def has_openat2() -> bool:
    """Whether openat2(2) can be called on this kernel."""
    try:
        os.close(_openat2(-1, b"/", os.O_PATH | os.O_CLOEXEC, _NO_MAGICLINKS))
    except OSError as error:
        return error.errno not in (errno.ENOSYS, errno.EPERM, errno.E2BIG)
    return True


def _openat2(directory: int, name: bytes, flags: int, resolve: int) -> int:
    if b"\0" in name:
        raise _error(errno.EINVAL)
    quiet = _quiet(flags)
    fd: int = _syscall(_OPENAT2, directory, name, _how(quiet | os.O_CLOEXEC, resolve), _HOW_SIZE)
    if fd < 0 and quiet != flags and ctypes.get_errno() == errno.EPERM:
        fd = _syscall(_OPENAT2, directory, name, _how(flags | os.O_CLOEXEC, resolve), _HOW_SIZE)
    if fd < 0:
        raise _error(ctypes.get_errno())
    return fd


def _open(name: bytes, flags: int, directory: int) -> int:
    try:
        return os.open(name, _quiet(flags), dir_fd=directory)
    except PermissionError:
        return os.open(name, flags, dir_fd=directory)


def _quiet(flags: int) -> int:
    """The flags with which reading changes no access time, as far as the kernel allows that."""
    return flags if flags & os.O_PATH else flags | os.O_NOATIME


@cache
def _how(flags: int, resolve: int) -> object:
    """The argument of openat2; made once for each way to open, as making it takes longer than the call."""
    return ctypes.byref(_How(flags, 0, resolve))


class _Walk:
    """A walk below a directory: each directory on the way is held open, so `..` is never looked up."""

    def __init__(self, directory: int, links: Links) -> None:
        self._folders = [directory]
        self._links = links
        self._links_left = _MAX_LINKS

    def open(self, name: bytes, flags: int) -> int:
        waiting = self._components(name)
        while waiting:
            part = waiting.pop()
            if part == b"..":
                self._up()
                continue
            try:
                fd = _open(part, (_STEP if waiting else flags | os.O_NOFOLLOW), self._folders[-1])
            except OSError:
                target = self._target(part)
                if target is None:
                    raise
            else:
                if waiting:
                    self._folders.append(fd)
                    continue
                if not flags & os.O_PATH or not stat.S_ISLNK(os.fstat(fd).st_mode):
                    return fd
                os.close(fd)
                target = self._target(part) or b""
            if not waiting and flags & os.O_NOFOLLOW:
                raise _error(errno.ELOOP)
            waiting += self._components(target)
        return _open(b".", flags, self._folders[-1])

    def leave(self) -> None:
        """Close all directories but the first."""
        while len(self._folders) > 1:
            os.close(self._folders.pop())

    def _components(self, name: bytes) -> list[bytes]:
        """The components of a name, last first. Returns to the root if the name is absolute."""
        if name.startswith(b"/"):
            if self._links is not Links.CHROOT:
                raise _error(errno.EXDEV)
            self.leave()
        return [part for part in reversed(name.split(b"/")) if part not in (b"", b".")]

    def _up(self) -> None:
        if len(self._folders) > 1:
            os.close(self._folders.pop())
        elif self._links is not Links.CHROOT:
            raise _error(errno.EXDEV)

    def _target(self, part: bytes) -> bytes | None:
        """The target of a link that may be followed; None if it is not a link."""
        try:
            target = os.readlink(part, dir_fd=self._folders[-1])
        except OSError:
            return None
        self._links_left -= 1
        if self._links is Links.REFUSED or self._links_left < 0:
            raise _error(errno.ELOOP)
        return target


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
