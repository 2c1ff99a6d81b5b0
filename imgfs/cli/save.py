"""`imgfs save`: images as an archive that engines load."""

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterable

import click

from imgfs.cli.messages import progress_bar
from imgfs.cli.naming import named_images
from imgfs.cli.opening import source_option, store_option
from imgfs.cli.output import output_file, output_option
from imgfs.digest import ImageID
from imgfs.saving import (
    Entry,
    SavedImage,
    docker_archive_entries,
    oci_layout_entries,
    write_directory,
    write_tar,
)
from imgfs.sources.lookup import ChosenImage


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
    """
    if output == "-" and form == "oci":
        raise click.UsageError("--format oci writes a directory: use -o DIRECTORY")
    if output == "-" and sys.stdout.isatty():
        raise click.UsageError("an archive is not for a terminal: use -o FILE or redirect standard output")
    with named_images(images, sources, store) as named:
        saved = _saved(named)
        entries = docker_archive_entries(saved) if form == "docker-archive" else oci_layout_entries(saved)
        with progress_bar("saving", None) as advance:
            if form == "oci":
                _write_directory(entries, output, advance)
            else:
                with output_file(output) as file:
                    write_tar(entries, file, advance)


def _saved(named: Iterable[ChosenImage]) -> list[SavedImage]:
    """The images meant, each once, with the names that they were asked for by."""
    saved: dict[ImageID, SavedImage] = {}
    for found in named:
        known = saved.setdefault(found.image_id, SavedImage(found.image, [], found.layers))
        if found.name is not None and found.name not in known.names:
            known.names.append(found.name)
    return list(saved.values())


def _write_directory(entries: Iterable[Entry], path: str, advance: Callable[[int], None]) -> None:
    """Write a directory that is there under its name once all is written, or not at all."""
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    partial = f"{path.rstrip('/')}.{os.getpid()}.partial"
    try:
        write_directory(entries, partial, advance)
        os.rename(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
