"""What a command writes to: standard output, a file that appears only once it is complete, or a directory.

Tried by the tests of `imgfs export` and `imgfs cp`.
"""

import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

import click

from imgfs.blob import Folder
from imgfs.cli.messages import ClosedStream

# errors that only writing raises, and without the file's name
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

output_option = click.option(
    "-o", "--output", metavar="FILE", default="-", help="Write to FILE instead of standard output."
)


@contextmanager
def output_file(path: str) -> Iterator[BinaryIO]:
    """Standard output for `-`, or the file at `path`. Raises OSError that names it."""
    try:
        if path == "-":
            if isinstance(sys.stdout, ClosedStream):
                raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif os.path.exists(path) and not os.path.isfile(path):  # a pipe or a device is not replaced
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
def output_directory(path: str) -> Iterator[str]:
    """Where to write a directory that is there under its name once all is written, or not at all.

    Raises FileExistsError if there is something already, OSError.
    """
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    partial = f"{path.rstrip('/')}.{os.getpid()}.partial"
    try:
        yield partial
        os.rename(partial, path)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and str(error.filename).startswith(partial):
            error.filename = path
        raise


def output_folder(path: str) -> Folder:
    """The directory at `path`, to which links may lead, as it is the user's own path. Raises OSError."""
    return Folder(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path)


@contextmanager
def _whole(path: str) -> Iterator[BinaryIO]:
    """A file that replaces the one at `path` once it is complete, and keeps its mode. Nothing is left on failure."""
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
