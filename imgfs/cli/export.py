"""`imgfs export`: an image as a tar, with no mount."""

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO

import click

from imgfs.blob import blob_chunks
from imgfs.cli.common import opened, progress_bar, source_option, store_option
from imgfs.cli.messages import ClosedStream
from imgfs.cli.trees import merged
from imgfs.view.rootfs_tar import open_rootfs_tar

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what only writing fails with, and without naming the file


@click.command(short_help="Write an image as one tar.")
@click.argument("image")
@click.option("-o", "--output", metavar="FILE", default="-", help="Write to FILE instead of standard output.")
@click.option(
    "--tar",
    "form",
    type=click.Choice(["joined", "verbatim", "flat"]),
    default="joined",
    show_default=True,
    help="The layers as one tar that tools read to its end, or end to end byte for byte, "
    "or the root file system that they make, as docker export gives it.",
)
@source_option
@store_option
def export(image: str, output: str, form: str, sources: tuple[str, ...], store: str | None) -> None:
    """Write the layers of IMAGE, or its root file system, as one tar to standard output or a file."""
    if output == "-" and sys.stdout.isatty():
        raise click.UsageError("a tar is not for a terminal: use -o FILE or redirect standard output")
    with ExitStack() as stack:
        snapshot = stack.enter_context(opened(sources, store)).snapshot
        image_id = snapshot.resolve(image)
        if form == "flat":
            blob = stack.enter_context(stack.enter_context(merged(snapshot, image_id)).flat())
        else:
            images = snapshot.source_of(image_id).store
            blob = stack.enter_context(open_rootfs_tar(images, image_id, verbatim=form == "verbatim"))
        file = stack.enter_context(_output(output))
        with progress_bar(image, blob.known_size) as advance:
            for chunk in blob_chunks(blob):
                file.write(chunk)
                advance(len(chunk))


@contextmanager
def _output(path: str) -> Iterator[BinaryIO]:
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
