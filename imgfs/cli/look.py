"""`imgfs find`, `imgfs which` and `imgfs diff`: what is in root file systems, without a mount."""

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import click

from imgfs.cli.color import bad, color_option, good, notable
from imgfs.cli.json_output import (
    difference_fields,
    file_fields,
    file_type,
    json_lines_option,
    json_option,
    path_fields,
    print_json,
    print_json_line,
)
from imgfs.cli.messages import shown, tell, utf8
from imgfs.cli.naming import named_root, named_roots
from imgfs.cli.opening import source_option, store_option
from imgfs.cli.steps import shown_step
from imgfs.cli.table import fitting, no_trunc_option
from imgfs.rootfs import Change, Difference, RootFS, differences
from imgfs.rootfs.hidden import hidden_paths
from imgfs.sizes import human_size
from imgfs.sources.chosen import ChosenRoot
from imgfs.tree import Event, Tree


@click.command(short_help="Find paths in an image or a container.")
@click.argument("image", metavar="IMAGE|CONTAINER")
@click.argument("pattern")
@click.option("-0", "--print0", is_flag=True, help="End each path with a NUL, for xargs -0.")
@click.option(
    "--layers",
    "in_layers",
    is_flag=True,
    help="Find what lies in any layer; the layer comes first.",
)
@click.option(
    "--deleted", is_flag=True, help="Find only what lies in a layer and later ones delete or replace."
)
@json_lines_option
@source_option
@store_option
def find(
    image: str,
    pattern: str,
    print0: bool,
    in_layers: bool,
    deleted: bool,
    as_json: bool,
    sources: tuple[str, ...],
    store: str | None,
) -> None:
    """Print each path of the root file system of an IMAGE or a CONTAINER that matches PATTERN, with wildcards as the
    shell has them.

    A PATTERN without a slash is matched against names, any other against whole paths, where `*` stops at a slash and
    `**` does not. What in a path is not UTF-8, or could steer a terminal, is printed as escapes, except with -0. Exit
    status 1 if nothing matches, 2 for an error.

    \b
    Examples:
      imgfs find debian '/etc/**/*.conf'
      imgfs find --deleted app:1 '*.pem'
      imgfs find web '/tmp/**'
    """
    found = False
    with named_root(image, sources, store) as named:
        for layer, path, root in (
            _found_in_layers(named, pattern, deleted) if in_layers or deleted else _found(named, pattern)
        ):
            found = True
            if as_json:
                of = file_fields(root.stat(path, follow=False))
                print_json_line(path_fields(path) | of | _layer_fields(named, layer))
                continue
            line = path if layer is None else f"{named.labels[layer].label}  {path}"
            if print0:
                sys.stdout.buffer.write(os.fsencode(line) + b"\0")
            else:
                click.echo(shown(line))
    click.get_current_context().exit(not found)


Found = tuple[int | None, str, RootFS]
"""The number of a layer if one was looked into alone, a path, and the tree that has it."""


def _found(named: ChosenRoot, pattern: str) -> Iterator[Found]:
    with named.root_fs() as root:
        for path in root.find(pattern):
            yield None, path, root


def _layer_fields(named: ChosenRoot, layer: int | None) -> dict[str, object]:
    return {} if layer is None else {"layer": layer, "diff_id": named.labels[layer].diff_id}


def _found_in_layers(named: ChosenRoot, pattern: str, deleted: bool) -> Iterator[Found]:
    """What is in layers, or only what of that is not seen in the end."""
    if not deleted:
        for number, root in enumerate(named.layer_trees()):
            for path in root.find(pattern):
                yield number, path, root
        return
    with named.root_fs() as seen:
        yield from deleted_in_layers(named, seen, pattern)


def deleted_in_layers(named: ChosenRoot, seen: RootFS, pattern: str) -> Iterator[tuple[int, str, RootFS]]:
    """What matches in layers and is not seen in the end: the number of a layer, a path, and the tree that has it."""
    current: list[RootFS] = []

    def layers() -> Iterator[RootFS]:  # one at a time, as each takes memory
        for root in named.layer_trees():
            current[:] = [root]
            yield root

    for number, _, path in hidden_paths(seen, layers(), [pattern]):
        yield number, path, current[0]


@click.command(short_help="Show which layer a path comes from.")
@click.argument("image", metavar="IMAGE|CONTAINER[:/PATH]")
@click.argument("path", required=False)
@json_option
@no_trunc_option
@source_option
@store_option
def which(
    image: str, path: str | None, as_json: bool, no_trunc: bool, sources: tuple[str, ...], store: str | None
) -> None:
    """Show which layer of an IMAGE or a CONTAINER a PATH of its root file system comes from, and what hid what lower
    layers had.

    One line for each layer that changed it, the topmost first; what a container itself changed is its last layer. Exit
    status 1 if there is no such path in the end, 2 if the layers cannot be read.

    \b
    Examples:
      imgfs which app:1:/etc/passwd
      imgfs which web /etc/passwd
    """
    with named_root(image, sources, store) as named:
        path = named.path if path is None else path
        if path is None:
            raise click.UsageError("no path is given (IMAGE:/PATH, or IMAGE PATH)")
        labels = named.labels
        with named.root_fs() as root:
            events = root.which(path)
    if not events:
        tell(f"{path}: no layer of {named.id.removeprefix('sha256:')[:12]} has it")
        click.get_current_context().exit(1)
    if as_json:
        fields = [
            {
                "layer": event.layer,
                "diff_id": labels[event.layer].diff_id,
                "created_by": labels[event.layer].created_by,
                **_event_fields(event),
            }
            for event in reversed(events)
        ]
        print_json(fields)
        click.get_current_context().exit(int(events[-1].gone))
    for event in reversed(events):
        label = labels[event.layer]
        line = f"{label.label}  {_described_event(event)}"
        line = f"{line}  # {shown_step(label.created_by)}" if label.created_by else line
        click.echo(line if no_trunc else fitting(line))
    click.get_current_context().exit(int(events[-1].gone))


@click.command(short_help="Compare the root file systems of two images or containers.")
@click.argument("before")
@click.argument("after")
@json_lines_option
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything differs, as git diff does.")
@color_option
@source_option
@store_option
def diff(
    before: str, after: str, as_json: bool, exit_code: bool, sources: tuple[str, ...], store: str | None
) -> None:
    """Print what differs between the root file systems of two images or containers: A added, D removed, C changed.

    Each line has the change in size in bytes and, of what changed, in what. Times do not count.

    \b
    Examples:
      imgfs diff app:1 app:2
      imgfs diff --exit-code app:1 oci-archive:app.tar
      imgfs diff app:2 container:web
    """
    with named_roots((before, after), sources, store) as named, ExitStack() as stack:
        first, second = (stack.enter_context(each.root_fs()) for each in named)
        found = differences(first, second)
        count = _print_json(found) if as_json else _print_lines(found)
    click.get_current_context().exit(int(exit_code and count > 0))


def _print_lines(found: Iterable[Difference]) -> int:
    count = 0
    for count, of in enumerate(found, 1):  # noqa: B007  # the last one is what is returned
        size = (of.after.size if of.after else 0) - (of.before.size if of.before else 0)
        why = f"  ({', '.join(of.differs)})" if of.differs else ""
        click.echo(f"{change_letter(of.change)} {size:>+12}  {shown(of.path)}{why}")
    return count


def change_letter(change: Change) -> str:
    """The letter that docker diff has for a change, in color."""
    match change:
        case Change.ADDED:
            return good("A")
        case Change.REMOVED:
            return bad("D")
        case Change.CHANGED:
            return notable("C")


def _print_json(found: Iterable[Difference]) -> int:
    count = 0
    for count, of in enumerate(found, 1):  # noqa: B007  # the last one is what is returned
        print_json_line(difference_fields(of))
    return count


def _event_fields(event: Event) -> dict[str, object]:
    """What a layer did to a path, and what it has for it."""
    if event.entry is None:
        return {"what": event.what}
    tree, entry = event.tree, event.entry
    mode = tree.modes[entry]
    size = {"size": tree.sizes[entry]} if stat.S_ISREG(mode) else {}
    target = {"target": utf8(os.fsdecode(tree.target(entry)))} if stat.S_ISLNK(mode) else {}
    return {"what": event.what, "type": file_type(mode), **size, **target}


def _described_event(event: Event) -> str:
    return event.what if event.entry is None else f"{event.what}: {_described(event.tree, event.entry)}"


def _described(tree: Tree, entry: int) -> str:
    mode = tree.modes[entry]
    if stat.S_ISREG(mode):
        size = tree.sizes[entry]
        return f"file of {human_size(size)}" if size >= 1024 else f"file of {size} bytes"
    if stat.S_ISLNK(mode):
        return f"symbolic link to {shown(os.fsdecode(tree.target(entry)))}"
    return file_type(mode)
