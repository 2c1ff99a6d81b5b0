"""`imgfs find`, `imgfs which` and `imgfs diff`: what is in root file systems, without a mount."""

import base64
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import click
import msgspec

from imgfs.cli.messages import shown, tell, utf8
from imgfs.cli.naming import named_image, named_images
from imgfs.cli.opening import source_option, store_option
from imgfs.errors import printable
from imgfs.rootfs import Change, Difference, Stat, differences
from imgfs.rootfs.hidden import hidden_paths
from imgfs.sources.lookup import ChosenImage
from imgfs.tree import Event, Tree

_LETTERS = {Change.ADDED: "A", Change.REMOVED: "D", Change.CHANGED: "C"}


@click.command(short_help="Find paths in an image.")
@click.argument("image")
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
@source_option
@store_option
def find(
    image: str,
    pattern: str,
    print0: bool,
    in_layers: bool,
    deleted: bool,
    sources: tuple[str, ...],
    store: str | None,
) -> None:
    """Print each path of IMAGE's root file system that matches PATTERN, with wildcards as the shell has them.

    A PATTERN without a slash is matched against names, any other against whole paths, where `*` stops at a slash and
    `**` does not. What in a path is not UTF-8, or could steer a terminal, is printed as escapes, except with -0. Exit
    status 1 if nothing matches, 2 for an error.

    \b
    Examples:
      imgfs find debian '/etc/**/*.conf'
      imgfs find --deleted app:1 '*.pem'
    """
    found = False
    with named_image(image, sources, store) as named:
        for line in (
            _found_in_layers(named, pattern, deleted) if in_layers or deleted else _found(named, pattern)
        ):
            found = True
            if print0:
                sys.stdout.buffer.write(os.fsencode(line) + b"\0")
            else:
                click.echo(shown(line))
    click.get_current_context().exit(not found)


def _found(named: ChosenImage, pattern: str) -> Iterator[str]:
    with named.root_fs() as root:
        yield from root.find(pattern)


def _found_in_layers(named: ChosenImage, pattern: str, deleted: bool) -> Iterator[str]:
    """The layer, two spaces and the path of what is in layers, or only of what is not seen in the end."""
    if deleted:
        with named.root_fs() as seen:
            found = [(number, path) for number, _, path in hidden_paths(seen, named.layer_trees(), [pattern])]
    else:
        found = [
            (number, path) for number, root in enumerate(named.layer_trees()) for path in root.find(pattern)
        ]
    for number, path in found:
        yield f"{number:02}-{named.image.diff_ids[number].short}  {path}"


@click.command(short_help="Show which layer a path comes from.")
@click.argument("image", metavar="IMAGE[:/PATH]")
@click.argument("path", required=False)
@source_option
@store_option
def which(image: str, path: str | None, sources: tuple[str, ...], store: str | None) -> None:
    """Show which layer of IMAGE a PATH of its root file system comes from, and what hid what lower layers had.

    One line for each layer that changed it, the topmost first. Exit status 1 if there is no such path in the end,
    2 if the layers cannot be read.
    """
    with named_image(image, sources, store) as named:
        path = named.path if path is None else path
        if path is None:
            raise click.UsageError("no path is given (IMAGE:/PATH, or IMAGE PATH)")
        found = named.image
        with named.root_fs() as root:
            events = root.which(path)
    if not events:
        tell(f"{path}: no layer of {found.id.short} has it")
        click.get_current_context().exit(1)
    steps = [entry.created_by or entry.comment or "" for entry in found.history if not entry.empty_layer]
    for event in reversed(events):
        step = steps[event.layer] if event.layer < len(steps) else ""
        line = f"{event.layer:02}-{found.diff_ids[event.layer].short}  {_described_event(event)}"
        click.echo(f"{line}  # {printable(step)}" if step else line)
    click.get_current_context().exit(int(events[-1].gone))


@click.command(short_help="Compare the root file systems of two images.")
@click.argument("before")
@click.argument("after")
@click.option("--json", "as_json", is_flag=True, help="One JSON list instead of lines.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything differs, as git diff does.")
@source_option
@store_option
def diff(
    before: str, after: str, as_json: bool, exit_code: bool, sources: tuple[str, ...], store: str | None
) -> None:
    """Print what differs between the root file systems of two images: A added, D removed, C changed.

    Each line has the change in size in bytes and, of what changed, in what. Times do not count.
    """
    with named_images((before, after), sources, store) as named, ExitStack() as stack:
        first, second = (stack.enter_context(each.root_fs()) for each in named)
        found = differences(first, second)
        count = _print_json(found) if as_json else _print_lines(found)
    click.get_current_context().exit(int(exit_code and count > 0))


def _print_lines(found: Iterable[Difference]) -> int:
    count = 0
    for count, of in enumerate(found, 1):  # noqa: B007  # the last one is what is returned
        size = (of.after.size if of.after else 0) - (of.before.size if of.before else 0)
        why = f"  ({', '.join(of.differs)})" if of.differs else ""
        click.echo(f"{_LETTERS[of.change]} {size:>+12}  {shown(of.path)}{why}")
    return count


class _State(msgspec.Struct, omit_defaults=True):
    type: str
    mode: str
    uid: int
    gid: int
    size: int
    target: str | None = None


class _Row(msgspec.Struct, omit_defaults=True):
    """`path_base64` is there where `path` is not UTF-8 and so not exact."""

    path: str
    change: str
    before: _State | None
    after: _State | None
    differs: list[str] = []
    path_base64: str | None = None


def _print_json(found: Iterable[Difference]) -> int:
    rows = [_row(of) for of in found]
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows)).decode() + "\n")
    return len(rows)


def _row(of: Difference) -> _Row:
    path = os.fsencode(of.path)
    text = utf8(of.path)
    exact = None if text.encode() == path else base64.b64encode(path).decode()
    return _Row(text, of.change.value, _state(of.before), _state(of.after), list(of.differs), exact)


def _state(state: Stat | None) -> _State | None:
    if state is None:
        return None
    target = utf8(state.target) if stat.S_ISLNK(state.mode) else None
    mode = f"{stat.S_IMODE(state.mode):04o}"
    return _State(_type(state.mode), mode, state.uid, state.gid, state.size, target)


def _described_event(event: Event) -> str:
    return event.what if event.entry is None else f"{event.what}: {_described(event.tree, event.entry)}"


def _described(tree: Tree, entry: int) -> str:
    mode = tree.modes[entry]
    if stat.S_ISREG(mode):
        return f"file of {tree.sizes[entry]} bytes"
    if stat.S_ISLNK(mode):
        return f"symbolic link to {shown(os.fsdecode(tree.target(entry)))}"
    return _type(mode)


def _type(mode: int) -> str:
    kinds = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "symlink", stat.S_IFIFO: "pipe"}
    devices = {stat.S_IFCHR: "character device", stat.S_IFBLK: "block device"}
    return (kinds | devices).get(stat.S_IFMT(mode), "unknown")
