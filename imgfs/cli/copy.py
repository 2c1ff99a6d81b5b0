"""`imgfs copy`: an image from any source to a store of imgfs, a layout, an archive or a registry."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import click

from imgfs.cli.bars import command_bars
from imgfs.cli.entry_bars import EntryBars
from imgfs.cli.naming import named
from imgfs.cli.opening import registries, writing
from imgfs.cli.output import output_directory, output_file, output_folder
from imgfs.cli.reaching import destination_configuration
from imgfs.errors import StoreError
from imgfs.own.loading import load_image
from imgfs.registry.client import RegistryClient
from imgfs.registry.reference import is_registry_reference, parse_registry_reference
from imgfs.saving import SavedImage, docker_archive_entries, image_pieces, write_tar
from imgfs.saving.compression import LayerCompressor, LayerFormat
from imgfs.saving.copied_image import copied_images, copied_meant, copied_pieces
from imgfs.saving.copying import Destination, copy_pieces
from imgfs.saving.destinations import Place, parse_destination
from imgfs.saving.layout_archive import LayoutArchive
from imgfs.saving.layout_directory import LayoutDirectory
from imgfs.saving.piece import Kind, Piece
from imgfs.saving.registry_destination import RegistryDestination
from imgfs.sources import SCHEMES
from imgfs.sources.chosen import ChosenImage
from imgfs.sources.image_reference import parse_source


@click.command(short_help="Copy an image to a layout, an archive, a registry or a store.")
@click.argument("image", metavar="SOURCE-IMAGE")
@click.argument("destination", metavar="DESTINATION-IMAGE")
@click.option("-a", "--all", "with_all", is_flag=True, help="Copy every platform of an index, and the index.")
@click.option(
    "--dest-compress",
    "compress",
    is_flag=True,
    help="Compress uncompressed layers, also those of a layout.",
)
@click.option(
    "--dest-compress-format",
    "form",
    type=click.Choice([str(form) for form in LayerFormat]),
    help="Compress all layers in this way (default: in a registry, gzip for uncompressed ones).",
)
@click.option(
    "--dest-decompress", "decompress", is_flag=True, help="Leave layers uncompressed, also in a registry."
)
@click.option("--digestfile", metavar="FILE", help="Write the digest of what was copied to FILE.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing.")
def copy(
    image: str,
    destination: str,
    with_all: bool,
    compress: bool,
    form: str | None,
    decompress: bool,
    digestfile: str | None,
    quiet: bool,
) -> None:
    """Copy SOURCE-IMAGE to DESTINATION-IMAGE, as skopeo copy does, with the digests that it has.

    \b
    DESTINATION-IMAGE is one of
      imgfs:[NAME]                the store of imgfs, also imgfs:[PATH]NAME
      oci:PATH[:TAG]              an OCI image layout, made or added to
      oci-archive:FILE[:TAG]      such a layout in a tar
      docker-archive:FILE[:NAME]  what docker load and podman load take
      docker://HOST/REPO[:TAG]    a registry

    Where the image has a manifest and its layers' blobs, these are copied as they are. Else, as from Docker's classic
    store, Podman's and that of imgfs, a manifest is made, in a registry with layers compressed by gzip: so they have
    other digests than in the config, but the ID of the image stays the same. The same image gives the same manifest.
    For options of the registry of the source see imgfs help registries.

    \b
    Examples:
      imgfs copy containerd:app:1 oci:layout:1
      imgfs copy --all oci:layout:1 docker://localhost:5000/app:1
    """
    place = parse_destination(destination)
    quiet = quiet or _is_stream(place)
    if place.transport in ("imgfs", "docker-archive"):
        if digestfile is not None:
            raise click.UsageError(f"--digestfile: {place.transport}: keeps no manifest that has a digest")
        if with_all and place.transport == "docker-archive":
            raise click.UsageError("--all: docker-archive: has one image for a name, of one platform")
        if compress or form is not None:
            raise click.UsageError("--dest-compress: layers are compressed for a registry or a layout alone")
    if decompress and (compress or form is not None):
        raise click.UsageError("--dest-decompress does not go with --dest-compress")
    if with_all and form is not None:
        raise click.UsageError("--dest-compress-format: with --all, manifests are copied as they are")
    with named(copied_meant, [image], with_all=with_all) as (chosen,):
        if place.transport == "imgfs":
            _load(chosen, place, with_all=with_all, quiet=quiet)
        elif place.transport == "docker-archive":
            _save(chosen, place, quiet=quiet)
        else:
            is_compressed = compress or form is not None or (place.reference is not None and not decompress)
            show = _nothing if quiet else _ShowLines(is_short=sys.stdout.isatty())
            bars = command_bars()
            bars.with_text = True
            with ExitStack() as stack:
                compressor = None
                if is_compressed:
                    compressor = stack.enter_context(
                        LayerCompressor(LayerFormat(form or LayerFormat.GZIP), bars)
                    )
                pieces = copied_pieces(chosen, compressor, with_all=with_all, must_compress=form is not None)
                opened = stack.enter_context(_opened(place, chosen))
                top = copy_pieces(pieces, opened, bars, show)
            if digestfile is not None:
                with output_file(digestfile) as file:
                    file.write(top.digest.encode())


@contextmanager
def _opened(place: Place, chosen: ChosenImage) -> Iterator[Destination]:
    """The place, in which the image is once this ends, if it ends well."""
    if place.reference is not None:
        reference = chosen.snapshot.source_of(chosen.image_id).reference
        source = parse_registry_reference(reference) if is_registry_reference(reference) else None
        origin = registries().client.repository(source.repository) if source and source.path else None
        configuration = destination_configuration(click.get_current_context())
        with closing(RegistryClient(configuration, registries().stats)) as client:
            destination = RegistryDestination(client, place.reference, origin)
            destination.reach()
            yield destination
        return
    if place.transport == "oci":
        if os.path.lexists(place.path):
            with output_folder(place.path) as folder, LayoutDirectory(folder, place.name) as layout:
                yield layout
            return
        with output_directory(place.path) as partial:
            os.mkdir(partial)
            with output_folder(partial) as folder, LayoutDirectory(folder, place.name) as layout:
                yield layout
        return
    _refuse_itself(place, chosen)
    with output_file(place.path) as file:
        yield LayoutArchive(file, place.name)


def _save(chosen: ChosenImage, place: Place, *, quiet: bool) -> None:
    """Write an archive as docker save does."""
    if os.path.isfile(place.path) and os.path.getsize(place.path):
        raise StoreError(f"{place.path}: images are not added to an archive that is there")
    pieces = image_pieces(chosen.snapshot, chosen.image_id, set())
    saved = SavedImage(chosen.image, [place.name] if place.name else [], pieces)
    bars = EntryBars(docker_archive_entries([saved]), pieces.layers)
    with output_file(place.path) as file:
        write_tar(bars.entries(), file, bars.advance)
    if not quiet:
        click.echo(f"Copying config {chosen.image_id}")


def _load(chosen: ChosenImage, place: Place, *, with_all: bool, quiet: bool) -> None:
    """Copy into a store of imgfs."""
    names = [place.name] if place.name else [chosen.name] if chosen.name else []
    with writing(place.path or None) as writer:
        for image_id in copied_images(chosen, with_all=with_all):
            source = chosen.snapshot.source_of(image_id)
            load_image(source, image_id, writer, command_bars(), names)
            names = []
            if not quiet:
                click.echo(f"Copying config {image_id}")


class _ShowLines:
    """Prints lines as skopeo does, for people with short digests; to what bars put in the way."""

    def __init__(self, *, is_short: bool) -> None:
        self._is_short = is_short

    def __call__(self, piece: Piece, *, is_there: bool) -> None:
        if piece.kind.is_document:
            sys.stdout.write(f"Writing {piece.kind.value} to image destination\n")
            return
        kind = "config" if piece.kind is Kind.CONFIG else "blob"
        digest = piece.digest.short if self._is_short else piece.digest
        sys.stdout.write(f"Copying {kind} {digest}{' skipped: already exists' if is_there else ''}\n")


def _nothing(piece: Piece, *, is_there: bool) -> None:
    """Print nothing."""


def _is_stream(place: Place) -> bool:
    """Whether an archive goes to a pipe, in which nothing else is to be."""
    if not place.transport.endswith("archive"):
        return False
    return place.path == "-" or (os.path.exists(place.path) and not os.path.isfile(place.path))


def _refuse_itself(place: Place, chosen: ChosenImage) -> None:
    """Raises StoreError for an archive that is the one copied from: it would be replaced."""
    source = parse_source(chosen.term, SCHEMES).source or chosen.term
    path = source.partition(":")[2] if source.partition(":")[0] in SCHEMES else source
    if os.path.exists(path) and os.path.exists(place.path) and os.path.samefile(path, place.path):
        raise StoreError(f"{place.path}: it is what is copied from")
