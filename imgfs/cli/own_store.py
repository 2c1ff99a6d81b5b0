"""`imgfs load`, `import`, `tag` and `rm`: the commands that change our own store."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import chain

import click

from imgfs.cli.bars import command_bars
from imgfs.cli.messages import tell, utf8
from imgfs.cli.opening import indexing, opened, store_option, writing
from imgfs.digest import ImageID
from imgfs.errors import ImageNotFound, InUse, InvalidImage, NotFound, StoreError, describe, printable
from imgfs.own.directory_tar import directory_chunks
from imgfs.own.image_archive import refuse_images
from imgfs.own.importing import import_image
from imgfs.own.loading import load_images, received_archive
from imgfs.own.writer import Writer, file_chunks
from imgfs.sources import SCHEMES, Source, is_source, open_archive
from imgfs.sources.image_reference import parse_source
from imgfs.sources.reference import full_name
from imgfs.sources.union import Snapshot, Union


@click.command(short_help="Load images from an archive or any other source.")
@click.argument("source", default="-", metavar="[SOURCE|-]")
@click.option("-i", "--input", "input_", metavar="FILE", help="Load FILE, the same as giving it as SOURCE.")
@click.option("-q", "--quiet", is_flag=True, help="Print only the IDs of images.")
@store_option
def load(source: str, input_: str | None, quiet: bool, store: str | None) -> None:
    """Load every image of SOURCE into the store of imgfs: of an archive, as docker save writes it, or any other source.

    SOURCE may be an image, too, which gets the name that it is given by, and none if that is an ID. Without SOURCE, an
    archive is read from standard input. An archive may be compressed. The last line printed is the ID of the last
    image. A broken image is skipped with one line that names it; the exit status is 1 then. Parts of an image that the
    store already has are checked, and replaced if they are damaged.

    \b
    Examples:
      imgfs load -i app.tar
      imgfs load docker:app:1
    """
    reference = input_ or source
    if reference == "-" and sys.stdin.isatty():
        raise click.UsageError("no archive given, and standard input is a terminal")
    with writing(store) as writer:
        with _opened(reference, writer) as union:
            is_whole = not union.problems
            loaded, only = _to_load(union)
            for done in load_images(loaded, writer, command_bars(), only):
                if done.error is not None:
                    called = _called(union.snapshot, done.image_id)
                    tell(f"image {called} is not loaded: {describe(done.error)}")
                    is_whole = False
                    continue
                for name in () if quiet else done.tags:
                    click.echo(f"Loaded image: {printable(name)}")
                click.echo(done.image_id)
    click.get_current_context().exit(not is_whole)


@click.command("import", short_help="Create an image from tars and directories.")
@click.argument("inputs", nargs=-1, required=True, metavar="FILE|DIRECTORY|-...")
@click.option("--parent", metavar="IMAGE", help="Put the layers on top of those of this image.")
@click.option("-t", "--tag", metavar="NAME[:TAG]", help="Name the new image.")
@click.option(
    "-c", "--change", "changes", multiple=True, help="Apply a Dockerfile instruction, such as 'CMD [\"sh\"]'."
)
@click.option("-m", "--message", help="Set the comment in the history of the new image.")
@store_option
def import_(
    inputs: tuple[str, ...],
    parent: str | None,
    tag: str | None,
    changes: tuple[str, ...],
    message: str | None,
    store: str | None,
) -> None:
    """Create an image with a layer for each tar (compressed or not) or directory given, the first one lowest.

    Prints the ID of the new image.

    \b
    Examples:
      imgfs import -t app:1 rootfs.tar.gz
      imgfs import --parent debian -t app:2 -c 'CMD ["app"]' build
    """
    tags = [full_name(tag)] if tag else []
    with writing(store) as writer:
        base = None
        if parent is not None:
            base = writer.image(_resolve(writer, parent))
        layers = []
        for name in inputs:
            with _input(name) as (chunks, total), command_bars()(name, total) as advance:
                layer = writer.stage(refuse_images(chunks, name), name, advance)
            layers.append((layer, message or f"Imported from {utf8(name)}"))
        click.echo(import_image(writer, layers, base, changes, tags))


@click.command(short_help="Add a name to an image.")
@click.argument("image")
@click.argument("name")
@store_option
def tag(image: str, name: str, store: str | None) -> None:
    """Add NAME to the names of IMAGE, which is in the store of imgfs; an image that had NAME before loses it.

    \b
    Example:
      imgfs tag app:1 app:latest
    """
    with writing(store) as writer:
        writer.tag(_resolve(writer, image), full_name(name))


@click.command(short_help="Remove images from the store of imgfs.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-f", "--force", is_flag=True, help="Remove an image even if it has children or several names.")
@store_option
def rm(images: tuple[str, ...], force: bool, store: str | None) -> None:
    """Remove each IMAGE, given by name, ID or a unique prefix of an ID, and the layers that no other image has.

    If it is given by one of several names, only that name is removed, as by docker rmi.

    \b
    Example:
      imgfs rm app:1
    """
    with writing(store) as writer:
        for term in images:
            names = writer.names
            image_id = _resolve(writer, term)
            tags = names.tags_of(image_id)
            if len(tags) > 1 and not force:
                name = names.name_meant(_name_in(writer, term))
                if name is None:
                    raise InUse(
                        f"image {image_id.short} has several names ({', '.join(tags)}; --force to remove it)"
                    )
                writer.untag([name])
                _print_untagged(name)
                continue
            writer.remove(image_id, force=force)
            for name in tags:
                _print_untagged(name)
            click.echo(f"Deleted: {image_id}")


def _to_load(union: Union) -> tuple[Source, Mapping[ImageID, Sequence[str]] | None]:
    """The source to load from, and where single images of it were named, these with their names."""
    snapshot = union.snapshot
    if not union.only or not snapshot.wanted:
        return union.sources[0], None
    named = set(chain.from_iterable(union.only.values()))
    only = {
        image_id: [tag for tag in snapshot.tags_of(image_id) if tag in named] for image_id in snapshot.wanted
    }
    return snapshot.source_of(snapshot.wanted[0]), only  # which may be in several


@contextmanager
def _opened(reference: str, writer: Writer) -> Iterator[Union]:
    """What is loaded; an archive on standard input is copied first."""
    if reference != "-":
        with opened([reference]) as union:
            yield union
        return
    with indexing() as indexer:
        with closing(open_archive(received_archive(writer.folder, command_bars()), indexer)) as source:
            yield Union([source])


def _resolve(writer: Writer, term: str) -> ImageID:
    """The image in our own store that `term` names. Raises NotFound, StoreError or AmbiguousID."""
    try:
        return writer.names.resolve(_name_in(writer, term))
    except ImageNotFound:
        where = f"looked in imgfs:{writer.root}; an image of another source is loaded with imgfs load first"
        raise NotFound(f"No such image: {term} ({where})") from None


def _name_in(writer: Writer, term: str) -> str:
    """What is named in our own store. Raises StoreError for what is in another source."""
    reference = parse_source(term, SCHEMES)
    if reference.source in (None, "imgfs:", f"imgfs:{writer.root}"):
        return reference.name
    if reference.source.startswith("imgfs:"):
        raise StoreError(
            f"{term}: another store, which --store {reference.source.removeprefix('imgfs:')} opens"
        )
    raise StoreError(
        f"{term.removesuffix(':')}: only images in the store of imgfs are changed; imgfs load {term} copies it there"
    )


def _print_untagged(name: str) -> None:
    click.echo(f"Untagged: {printable(name)}")


def _called(snapshot: Snapshot, image_id: ImageID) -> str:
    """The ID of an image with its names, for a message."""
    names = snapshot.tags_of(image_id)
    return f"{image_id} ({', '.join(names)})" if names else image_id


@contextmanager
def _input(name: str) -> Iterator[tuple[Iterator[bytes], int | None]]:
    """The chunks of a new layer's tar, and its size in bytes if that is known."""
    if name == "-":
        if sys.stdin.isatty():
            raise click.UsageError("standard input is a terminal")
        yield file_chunks(sys.stdin.buffer), None
    elif os.path.isdir(name):
        if is_source(name):
            raise InvalidImage(f"{name}: images, which imgfs load takes")
        yield directory_chunks(name), None
    else:
        with open(name, "rb") as file:
            yield file_chunks(file), os.fstat(file.fileno()).st_size
