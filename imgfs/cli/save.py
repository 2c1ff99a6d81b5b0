"""`imgfs save`: images as an archive that engines load."""

import sys
from collections.abc import Hashable, Iterable
from contextlib import closing

import click

from imgfs.cli.entry_bars import EntryBars
from imgfs.cli.naming import named_images
from imgfs.cli.opening import source_option, store_option
from imgfs.cli.output import output_directory, output_file, output_option
from imgfs.digest import ImageID
from imgfs.saving import (
    SavedImage,
    docker_archive_entries,
    image_pieces,
    oci_layout_entries,
    write_directory,
    write_tar,
)
from imgfs.sources.chosen import ChosenImage


@click.command(short_help="Save images to an archive that docker and podman load.")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@output_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["docker-archive", "oci-archive", "oci"]),
    default="docker-archive",
    show_default=True,
    help="What docker save writes, an OCI image layout in a tar, or a directory that is such a layout.",
)
@source_option
@store_option
def save(
    images: tuple[str, ...], output: str, form: str, sources: tuple[str, ...], store: str | None
) -> None:
    """Save IMAGEs to one archive, which docker load, podman load, skopeo and ctr images import take.

    IDs and layers stay as they are. An image given by name is saved with that name, one given by its ID without any.
    With --format oci, FILE is a directory that is made.

    \b
    Examples:
      imgfs save -o app.tar docker:app:1 docker:app:2
      imgfs save containerd:app:1 | docker load
    """
    if output == "-" and form == "oci":
        raise click.UsageError("--format oci writes a directory: use -o DIRECTORY")
    if output == "-" and sys.stdout.isatty():
        raise click.UsageError("an archive is not for a terminal: use -o FILE or redirect the output")
    with named_images(images, sources, store) as named:
        saved = _saved(named)
        entries = docker_archive_entries(saved) if form == "docker-archive" else oci_layout_entries(saved)
        bars = EntryBars(entries, {layer for each in saved for layer in each.pieces.layers})
        with closing(bars.entries()) as shown:
            if form == "oci":
                with output_directory(output) as partial:
                    write_directory(shown, partial, bars.advance)
            else:
                with output_file(output) as file:
                    write_tar(shown, file, bars.advance)


def _saved(named: Iterable[ChosenImage]) -> list[SavedImage]:
    """The images meant, each once, with the names that they were asked for by."""
    names: dict[ImageID, tuple[ChosenImage, list[str]]] = {}
    for found in named:
        _, known = names.setdefault(found.image_id, (found, []))
        if found.name is not None and found.name not in known:
            known.append(found.name)
    present = set[Hashable]()
    return [
        SavedImage(found.image, known, image_pieces(found.snapshot, found.image_id, present))
        for found, known in names.values()
    ]
