"""`imgfs export`: an image's rootfs.tar with no mount."""

import os
import sys
from contextlib import ExitStack
from typing import BinaryIO

import click

from imgfs.blob import Blob, blob_chunks
from imgfs.cli.common import opened, progress_bar, source_option, store_option
from imgfs.view.rootfs_tar import open_rootfs_tar


@click.command()
@click.argument("image")
@click.option("-o", "--output", metavar="FILE", help="Write to FILE instead of standard output.")
@click.option(
    "--tar",
    "form",
    type=click.Choice(["joined", "verbatim"]),
    default="joined",
    show_default=True,
    help="One tar that tools read to its end, or the layer tars end to end byte for byte.",
)
@source_option
@store_option
def export(image: str, output: str | None, form: str, sources: tuple[str, ...], store: str | None) -> None:
    """Write the layer tars of IMAGE, as one tar, to standard output or a file."""
    if output is None and sys.stdout.isatty():
        raise click.UsageError("a tar is not for a terminal: use -o FILE or redirect standard output")
    with ExitStack() as stack:
        union = stack.enter_context(opened(sources, store))
        image_id = union.snapshot.resolve(image)
        source = union.snapshot.source_of(image_id)
        blob = stack.enter_context(open_rootfs_tar(source.store, image_id, verbatim=form == "verbatim"))
        if output is None:
            _copy(blob, sys.stdout.buffer, image)
        else:
            _copy_to_file(blob, output, image)


def _copy_to_file(blob: Blob, path: str, label: str) -> None:
    """Write all or nothing: a failed export leaves no file that looks whole."""
    temporary = f"{path}.{os.getpid()}.partial"
    try:
        with open(temporary, "xb") as file:
            _copy(blob, file, label)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def _copy(blob: Blob, file: BinaryIO, label: str) -> None:
    with progress_bar(label, blob.known_size) as advance:
        for chunk in blob_chunks(blob):
            file.write(chunk)
            advance(len(chunk))
