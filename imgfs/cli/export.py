"""`imgfs export`: an image as a tar, without a mount."""

import sys
from contextlib import ExitStack

import click

from imgfs.blob import blob_chunks
from imgfs.cli.messages import progress_bar
from imgfs.cli.opening import opened, root_fs, source_option, store_option
from imgfs.cli.output import output_file
from imgfs.view.tars import open_rootfs_tar


@click.command(short_help="Write an image as one tar.")
@click.argument("image")
@click.option("-o", "--output", metavar="FILE", default="-", help="Write to FILE instead of standard output.")
@click.option(
    "--tar",
    "form",
    type=click.Choice(["joined", "verbatim", "flat"]),
    default="joined",
    show_default=True,
    help="Write the layers as one tar, or end to end byte for byte, or the merged root file system, "
    "as docker export does.",
)
@source_option
@store_option
def export(image: str, output: str, form: str, sources: tuple[str, ...], store: str | None) -> None:
    """Write the layers of IMAGE, or its root file system, as one tar to standard output or a file."""
    if output == "-" and sys.stdout.isatty():
        raise click.UsageError(
            "refusing to write a tar to a terminal: use -o FILE or redirect standard output"
        )
    with ExitStack() as stack:
        snapshot = stack.enter_context(opened(sources, store)).snapshot
        image_id = snapshot.resolve(image)
        if form == "flat":
            blob = stack.enter_context(stack.enter_context(root_fs(snapshot, image_id)).flat_tar())
        else:
            images = snapshot.source_of(image_id).store
            blob = stack.enter_context(open_rootfs_tar(images, image_id, verbatim=form == "verbatim"))
        file = stack.enter_context(output_file(output))
        with progress_bar(image, blob.known_size) as advance:
            for chunk in blob_chunks(blob):
                file.write(chunk)
                advance(len(chunk))
