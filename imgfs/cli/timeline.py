"""`imgfs timeline`: when the files of an image or a container were changed, for tools of forensics."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click

from imgfs.cli.json_output import file_fields, json_lines_option, modified_time, path_fields, print_json_line
from imgfs.cli.look import deleted_in_layers
from imgfs.cli.naming import named_root
from imgfs.cli.opening import source_option, store_option
from imgfs.cli.output import output_file
from imgfs.cli.steps import shown_step
from imgfs.rootfs import RootFS, Stat
from imgfs.rootfs.bodyfile import bodyfile_line
from imgfs.sources.chosen import ChosenRoot, LayerLabel
from imgfs.tree import NO_LAYER

_LONGEST = 60  # characters of a step that stand behind each name


class _Entry(NamedTuple):
    """A file: `number` is its own among those of `layer`, or of all that are seen in the end."""

    path: str
    found: Stat
    number: int
    layer: int | None
    is_deleted: bool


@click.command(short_help="Write when files were changed, as a bodyfile for mactime or plaso.")
@click.argument("image", metavar="IMAGE|CONTAINER")
@click.option(
    "--deleted",
    "with_deleted",
    is_flag=True,
    help="Include what lies in a layer and later ones delete or replace.",
)
@json_lines_option
@source_option
@store_option
def timeline(
    image: str, with_deleted: bool, as_json: bool, sources: tuple[str, ...], store: str | None
) -> None:
    """Print a line for each file of an IMAGE or a CONTAINER in the bodyfile format of The Sleuth Kit, which mactime and
    plaso read.

    Behind each name stands the layer that it comes from, and the step that made that. Images record no time but that of
    the last change of content (mtime); the others are 0, and so is the hash. Files that are seen come first, sorted by
    path; then with --deleted those of each layer, the lowest first. What these tools could mistake in a name is
    escaped.

    \b
    Examples:
      imgfs timeline web | mactime -d -z UTC 2024-01-01
      imgfs timeline --deleted --json app:1
    """
    with named_root(image, sources, store) as named, named.root_fs() as root, output_file("-") as output:
        labels = named.labels
        for entry in _entries(named, root, with_deleted):
            if as_json:
                print_json_line(_fields(entry, labels))
            else:
                output.write(_line(entry, labels).encode())


def _entries(named: ChosenRoot, root: RootFS, with_deleted: bool) -> Iterator[_Entry]:
    tree = root.tree
    for path, found in root.walk():
        layer = tree.layers[found.inode]
        yield _Entry(path, found, found.inode, None if layer == NO_LAYER else layer, False)
    if with_deleted:
        for number, path, alone in deleted_in_layers(named, root, "*"):
            found = alone.stat(path, follow=False)
            yield _Entry(path, found, (number + 1 << 32) + found.inode, number, True)


def _line(entry: _Entry, labels: Sequence[LayerLabel]) -> str:
    note = "" if entry.layer is None else f"layer {entry.layer:02}"
    step = "" if entry.layer is None else shown_step(labels[entry.layer].created_by)
    if step:
        note += f": {step if len(step) <= _LONGEST else f'{step[: _LONGEST - 3]}...'}"
    return bodyfile_line(entry.path, entry.found, entry.number, note, is_deleted=entry.is_deleted)


def _fields(entry: _Entry, labels: Sequence[LayerLabel]) -> dict[str, object]:
    label = None if entry.layer is None else labels[entry.layer]
    return {
        **path_fields(entry.path),
        **file_fields(entry.found),
        "modified": modified_time(entry.found),
        "layer": entry.layer,
        "diff_id": label and label.diff_id,
        "created_by": label and label.created_by,
        "deleted": entry.is_deleted,
    }
