"""`imgfs load` and `imgfs import`: filling our own store."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from imgfs.cli.common import opened, progress_bar, store_option, utf8, writing
from imgfs.cli.messages import tell
from imgfs.digest import ImageID
from imgfs.errors import ImgfsError, describe, is_exhausted, printable
from imgfs.own.directory_tar import directory_chunks
from imgfs.own.importing import import_image
from imgfs.own.loading import load_image, parents_first, plain_archive
from imgfs.own.writer import file_chunks
from imgfs.sources.names import full_name
from imgfs.sources.union import Snapshot


@click.command(short_help="Load the images of an archive, or of any source.")
@click.argument("source", default="-", metavar="[SOURCE|-]")
@click.option("-i", "--input", "input_", metavar="FILE", help="The same as giving FILE as the SOURCE.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the images' IDs.")
@store_option
def load(source: str, input_: str | None, quiet: bool, store: str | None) -> None:
    """Load every image of an archive (made by docker save, or an OCI archive) into the store of imgfs.

    Reads standard input when no SOURCE is given; any other SOURCE is copied from in the same way. The archive
    may be compressed. The last line printed is the ID of the last image. An image that is broken is skipped with one
    line that names it, and the others are loaded; the exit status is 1 then. What the store has already of an image is
    checked, and replaced if it is damaged.
    """
    reference = input_ or source
    if reference == "-" and sys.stdin.isatty():
        raise click.UsageError("no archive given, and standard input is a terminal")
    with writing(store) as writer:
        if reference == "-" or os.path.isfile(reference):
            reference = plain_archive(reference, writer.folder, progress_bar)
        with opened([reference]) as union:
            (loaded,) = union.sources
            is_whole = not loaded.problems
            for image_id in parents_first(loaded):
                try:
                    tags = load_image(loaded, image_id, writer, progress_bar)
                except (ImgfsError, OSError) as error:
                    if is_exhausted(error):
                        raise
                    tell(f"image {_called(union.snapshot, image_id)} is not loaded: {describe(error)}")
                    is_whole = False
                    continue
                for name in () if quiet else tags:
                    click.echo(f"Loaded image: {printable(name)}")
                click.echo(image_id)
    click.get_current_context().exit(not is_whole)


@click.command("import", short_help="Make an image of tars and directories.")
@click.argument("inputs", nargs=-1, required=True, metavar="FILE|DIRECTORY|-...")
@click.option("--parent", metavar="IMAGE", help="Put the layers on top of this image.")
@click.option("-t", "--tag", metavar="NAME[:TAG]", help="A name for the new image.")
@click.option(
    "-c", "--change", "changes", multiple=True, help="Apply a Dockerfile instruction, such as 'CMD [\"sh\"]'."
)
@click.option("-m", "--message", help="A comment for the image's history.")
@store_option
def import_(
    inputs: tuple[str, ...],
    parent: str | None,
    tag: str | None,
    changes: tuple[str, ...],
    message: str | None,
    store: str | None,
) -> None:
    """Make an image of which each tar (compressed or not) or directory given is a layer, the first lowest.

    Prints the new image's ID.
    """
    tags = [full_name(tag)] if tag else []
    with writing(store) as writer:
        base = None
        if parent is not None:
            with opened([], store) as union:
                image_id = union.snapshot.resolve(parent)
                base = union.snapshot.images[image_id]
        layers = []
        for name in inputs:
            with _input(name) as (chunks, total), progress_bar(name, total) as advance:
                layer = writer.stage(chunks, name, advance)
            layers.append((layer, message or f"Imported from {utf8(name)}"))
        click.echo(import_image(writer, layers, base, changes, tags))


def _called(snapshot: Snapshot, image_id: ImageID) -> str:
    """An image in a message: its ID, with its names if it has any."""
    names = snapshot.tags_of(image_id)
    return f"{image_id} ({', '.join(names)})" if names else image_id


@contextmanager
def _input(name: str) -> Iterator[tuple[Iterator[bytes], int | None]]:
    """The bytes of the new layer, and how many they are where that is known."""
    if name == "-":
        if sys.stdin.isatty():
            raise click.UsageError("standard input is a terminal")
        yield file_chunks(sys.stdin.buffer), None
    elif os.path.isdir(name):
        yield directory_chunks(name), None
    else:
        with open(name, "rb") as file:
            yield file_chunks(file), os.fstat(file.fileno()).st_size
