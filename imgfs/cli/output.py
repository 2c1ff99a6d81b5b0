"""Where a command writes what is not for people: standard output, or a file that is whole or not there."""

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from imgfs.cli.messages import ClosedStream

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what only writing fails with, and without naming the file


@contextmanager
def output_file(path: str) -> Iterator[BinaryIO]:
    """What to write to: standard output for `-`, or a file. Raises OSError that names it."""
    try:
        if path == "-":
            if isinstance(sys.stdout, ClosedStream):
                raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif os.path.exists(path) and not os.path.isfile(path):  # a pipe or a device is written into
            with open(path, "wb") as file:
                yield file
        else:
            with _whole(path) as file:
                yield file
    except OSError as error:
        if error.errno in _FULL:
            error.filename = "standard output" if path == "-" else path
        raise


@contextmanager
def _whole(path: str) -> Iterator[BinaryIO]:
    """A file that is there under its name once all is written, with the mode that one there had, or not at all."""
    place = os.path.realpath(path)
    partial = f"{place}.{os.getpid()}.partial"
    try:
        with open(partial, "xb") as file:
            with suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(os.stat(place).st_mode))
            yield file
        os.replace(partial, place)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(partial)
        if isinstance(error, OSError) and error.filename == partial:
            error.filename = path
        raise
