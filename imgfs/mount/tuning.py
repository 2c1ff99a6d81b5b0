"""What the kernel allows a mount, raised once it answers.

Read-ahead: with the kernel's 128 KiB, reads in order are up to four times slower. Requests in the background, which is
what read-ahead makes: by default the kernel has twelve at a time, so a dozen that wait for a source that hangs would
keep the readers of every other source waiting. Both are set where the user may; Linux, fs/fuse/control.c, lets the
user who mounted set the second, if the control file system is there. Root reaches it even where it is not mounted.
"""

import ctypes
import os
from contextlib import suppress

_READ_AHEAD_KB = 1024  # more only costs memory
_MOST_BACKGROUND = 65_535  # what the kernel takes from root
_USERS_BACKGROUND = "/sys/module/fuse/parameters/max_user_bgreq"
_CONTROL = "/sys/fs/fuse/connections"
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # the same numbers on every architecture
_CMD_CREATE, _CLOEXEC = 6, 1  # linux/mount.h


def raise_limits(mountpoint: str) -> None:
    """Set both for the file system mounted at `mountpoint`, as far as this user may. May block until it answers."""
    device = os.stat(mountpoint).st_dev
    with suppress(OSError):
        _write(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb", _READ_AHEAD_KB)
    with suppress(OSError):
        _raise_background(os.minor(device))


def _raise_background(connection: int) -> None:
    name = f"{connection}/max_background"
    try:
        _write(f"{_CONTROL}/{name}", _background())
    except FileNotFoundError:
        top = _control_file_system()
        try:
            _write(name, _background(), top)
        finally:
            os.close(top)


def _background() -> int:
    if os.geteuid() == 0:
        return _MOST_BACKGROUND
    with open(_USERS_BACKGROUND) as file:
        return min(int(file.read()), _MOST_BACKGROUND)


def _control_file_system() -> int:
    """A descriptor of the control file system, mounted nowhere. Raises OSError."""
    context = _system_call(_FSOPEN, b"fusectl", _CLOEXEC)
    try:
        _system_call(_FSCONFIG, context, _CMD_CREATE, None, None, 0)
        return _system_call(_FSMOUNT, context, _CLOEXEC, 0)
    finally:
        os.close(context)


def _system_call(number: int, *arguments: object) -> int:
    result: int = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _write(path: str, value: int, directory: int | None = None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, b"%d" % value)
    finally:
        os.close(fd)
