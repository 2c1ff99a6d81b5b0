"""What a mount sets beyond its own objects: in this process while it serves, and in the kernel once it is mounted.

In the process, until the mount ends: pyfuse3 takes requests as `eager` does, and the garbage collector leaves alone
what was loaded before (going through it again and again costs 4 %). For good: memory that was freed is used again.

In the kernel, where the user may: read-ahead, as with the default of 128 KiB sequential reads are up to four times
slower; and the number of requests in the background, which is what read-ahead makes. By default the kernel sends
twelve at a time, so a dozen that wait for a source that hangs would keep the readers of every other source waiting.
Linux, fs/fuse/control.c, lets the user who mounted set that, if the control file system is mounted; root reaches it
where it is not.
"""

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from imgfs.mount.eager import eager_requests
from imgfs.mount.mount_api import new_mount

_READ_AHEAD_KB = 1024  # more only costs memory
_MOST_BACKGROUND = 65_535  # what the kernel takes from root
_USERS_BACKGROUND = "/sys/module/fuse/parameters/max_user_bgreq"
_CONTROL = "/sys/fs/fuse/connections"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc, malloc.h


@contextmanager
def tuned_process() -> Iterator[None]:
    """Set what serving a mount needs of this process; undone at the end, but for the use of memory."""
    gc.freeze()
    _reuse_freed_memory()
    release_freed_memory()  # opening thousands of images takes more than keeping them
    try:
        with eager_requests():
            yield
    finally:
        gc.unfreeze()


def _reuse_freed_memory() -> None:
    """Let buffers of a read's size come from memory that was freed before, for as long as the process lives.

    By default glibc maps each afresh, and the kernel clears it page by page: measured with `cat` of a tar that is in
    memory, from 0.95 s to 0.55 s of processor time a gigabyte.
    """
    with suppress(OSError, AttributeError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 4 << 20)
        library.mallopt(_TRIM_THRESHOLD, 16 << 20)


def release_freed_memory() -> None:
    """Return freed memory to the system, after a tree was made: glibc would keep more than the tree takes.

    It keeps a heap for each thread, and trees are made in many.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def raise_limits(mountpoint: str) -> None:
    """Raise the kernel's limits for the file system at `mountpoint`, where this user may. Blocks until it replies."""
    device = os.stat(mountpoint).st_dev
    raise_read_ahead(device)
    with suppress(OSError):
        _raise_background(os.minor(device))


def raise_read_ahead(device: int) -> None:
    """Raise how much the kernel reads ahead of a file system with a device number, where this user may."""
    with suppress(OSError):
        _write(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb", _READ_AHEAD_KB)


def _raise_background(connection: int) -> None:
    name = f"{connection}/max_background"
    try:
        _write(f"{_CONTROL}/{name}", _background())
    except FileNotFoundError:
        top = new_mount("fusectl")
        try:
            _write(name, _background(), top)
        finally:
            os.close(top)


def _background() -> int:
    if os.geteuid() == 0:
        return _MOST_BACKGROUND
    with open(_USERS_BACKGROUND) as file:
        return min(int(file.read()), _MOST_BACKGROUND)


def _write(path: str, value: int, directory: int | None = None) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(fd, b"%d" % value)
    finally:
        os.close(fd)
