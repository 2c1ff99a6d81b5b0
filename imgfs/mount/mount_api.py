"""The system calls that mount and unmount, for which Python has no functions. All may block, without the GIL.

A mount is made first, attached to no place, and then attached: fsopen(2), fsconfig(2), fsmount(2), move_mount(2),
which Linux has since 5.2. Tried by the tests of `kernel_mounts` and `tuning`.
"""

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress
from enum import IntFlag

# The same numbers on every architecture.
_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 429, 430, 431, 432
# linux/mount.h
_CLOEXEC, _SET_STRING, _CREATE = 1, 1, 6
_FROM_DESCRIPTOR, _TO_DESCRIPTOR = 0x4, 0x40
_LOG = 4096  # bytes of a message

LONGEST = 255
"""Bytes of a value that fsconfig(2) takes."""


class Attribute(IntFlag):
    """What is not possible in a mount, as in linux/mount.h."""

    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8


class Unmount(IntFlag):
    """How to unmount, as in umount2(2)."""

    DETACH = 2
    EXPIRE = 4
    NOFOLLOW = 8


def new_mount(kind: str, settings: Iterable[tuple[str, str]] = (), attributes: int = 0) -> int:
    """A descriptor of a new mount of a file system, attached to no place; the caller closes it.

    Raises OSError, which has the kernel's own message if there is one.
    """
    context = _call(_FSOPEN, kind.encode(), _CLOEXEC)
    try:
        for name, value in settings:
            _call(_FSCONFIG, context, _SET_STRING, name.encode(), os.fsencode(value), 0)
        _call(_FSCONFIG, context, _CREATE, None, None, 0)
        return _call(_FSMOUNT, context, _CLOEXEC, int(attributes))
    except OSError as error:
        message = _message(context)
        raise OSError(error.errno, message or error.strerror) from None
    finally:
        os.close(context)


def attach(mount: int, directory: int) -> None:
    """Attach a new mount to a directory; both are descriptors. Waits for the directory's lock. Raises OSError."""
    _call(_MOVE_MOUNT, mount, b"", directory, b"", _FROM_DESCRIPTOR | _TO_DESCRIPTOR)


def unmount(path: str, how: int = 0) -> None:
    """Unmount what was mounted last at a path. Raises OSError as umount2(2) does."""
    if ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(path), int(how | Unmount.NOFOLLOW)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)


def _message(context: int) -> str:
    """The last error that the kernel has to say about a mount that is being made."""
    last = ""
    with suppress(OSError):  # there is none, or no further one
        while text := os.read(context, _LOG).decode(errors="replace").strip():
            last = text.removeprefix("e ")
    return last


def _call(number: int, *arguments: object) -> int:
    result: int = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
