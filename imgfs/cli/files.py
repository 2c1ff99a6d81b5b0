"""`imgfs cat` and `imgfs cp`, and the paths of `imgfs ls`: files of images and containers without a mount."""

import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import pairwise

import click

from imgfs.cli.color import file_name
from imgfs.cli.json_output import file_fields, modified_time, path_fields, print_json_line
from imgfs.cli.messages import shown, tell
from imgfs.cli.naming import named_root, named_roots
from imgfs.cli.opening import source_option, store_option
from imgfs.cli.output import output_file, output_folder
from imgfs.errors import NotFound, StoreError, describe
from imgfs.rootfs import RootFS, Stat
from imgfs.rootfs.copy_out import CopyOut, tar_of
from imgfs.sources import SCHEMES
from imgfs.sources.chosen import ChosenRoot
from imgfs.sources.image_reference import parse_image_reference


@click.command(short_help="Print files of images and containers.")
@click.argument("files", nargs=-1, required=True, metavar="IMAGE|CONTAINER:/PATH...")
@source_option
@store_option
def cat(files: tuple[str, ...], sources: tuple[str, ...], store: str | None) -> None:
    """Print files of images and containers to standard output, one after the other.

    Symbolic links are followed inside the image, as in a container of it.

    \b
    Examples:
      imgfs cat debian:/etc/os-release
      imgfs cat web:/var/log/nginx/error.log
    """
    for term, after in pairwise(files):
        if after.startswith("/") and parse_image_reference(term, SCHEMES).path is None:
            raise click.UsageError(f"{term!r} has no path (IMAGE:/PATH); did you mean {term}:{after}?")
    failed = False
    with named_roots(files, sources, store) as found, output_file("-") as output:
        for named in found:
            with named.root_fs() as root:
                try:
                    with root.open(_path(named)) as file:
                        shutil.copyfileobj(file, output, 1 << 20)
                except OSError as error:
                    if error.filename is None:  # of standard output
                        raise
                    tell(f"{named.term}: {error.strerror}")
                    failed = True
    click.get_current_context().exit(failed)


@click.command(short_help="Copy files out of an image or a container.")
@click.argument("path", metavar="IMAGE|CONTAINER:/PATH")
@click.argument("destination")
@click.option("-a", "--archive", is_flag=True, help="Keep owners, set-user-ID bits and extended attributes.")
@click.option("-L", "--follow-link", is_flag=True, help="Copy what a symbolic link at PATH leads to.")
@click.option(
    "-q", "--quiet", is_flag=True, help="Accepted, as docker cp has it; there is no progress to leave out."
)
@source_option
@store_option
def cp(
    path: str,
    destination: str,
    archive: bool,
    follow_link: bool,
    quiet: bool,
    sources: tuple[str, ...],
    store: str | None,
) -> None:
    """Copy a file or a directory of an image or a container to DESTINATION, or as a tar to standard output if that is
    `-`.

    As with docker cp: into DESTINATION if that is a directory, else under that name; a directory's PATH that ends in
    `/.` means its content. Modes and times are kept; files belong to the user who copies. Symbolic links on the way to
    PATH are followed inside the image.

    \b
    Examples:
      imgfs cp debian:/etc/passwd .
      imgfs cp -a container:web:/etc etc-of-web
      imgfs cp debian:/usr/share/doc - | tar tf -
    """
    if ":/" in destination and parse_image_reference(path, SCHEMES).path is None:
        raise click.UsageError("images and containers are not changed: cp only copies out of them")
    if destination == "-" and sys.stdout.isatty():
        raise click.UsageError("a tar is not for a terminal: redirect standard output")
    with named_root(path, sources, store) as named, named.root_fs() as root:
        wanted = _path(named)
        try:
            entry = root.lookup(wanted, follow=follow_link)
        except OSError as error:
            raise NotFound(f"{path}: {error.strerror}") from None
        only_content = wanted.endswith("/.") or wanted == "/"
        name = "" if only_content else os.path.basename(os.path.normpath(wanted))
        if destination == "-":
            with output_file("-") as output:
                output.writelines(tar_of(root, entry, os.fsencode(name)))
        else:
            _copy(root, entry, name, destination, archive=archive)


def _copy(root: RootFS, entry: int, name: str, destination: str, *, archive: bool) -> None:
    if not destination:
        raise click.UsageError("DESTINATION is empty")
    if os.path.isdir(destination):
        place = destination
    elif os.path.exists(destination) and not os.path.isfile(destination):
        raise StoreError(f"{destination}: a pipe or a device is not replaced (imgfs cat writes into one)")
    else:
        place, last = os.path.split(destination.rstrip("/") or "/")
        if root.tree.is_directory(entry) and not name and last:
            os.mkdir(destination)
            place = destination
        elif destination.endswith("/") and not root.tree.is_directory(entry):
            raise NotFound(f"{destination}: no such directory")
        else:
            name = last
    with output_folder(place or ".") as folder:
        try:
            CopyOut(root, folder, tell, archive=archive).copy(entry, name)
        except PermissionError as error:
            if not archive or error.errno != errno.EPERM or os.geteuid() == 0:
                raise
            raise StoreError(f"{describe(error)} (only root can keep owners; leave -a out)") from None


def list_paths(found: list[ChosenRoot], *, long: bool, recursive: bool, as_json: bool) -> bool:
    """Print what is at the path of each image, as ls does; returns whether all is there."""
    complete = True
    for number, named in enumerate(found):
        with named.root_fs() as root:
            path = _path(named)
            try:
                entry = root.lookup(path, follow=not long or path.endswith("/"))
            except OSError as error:
                tell(f"{named.term}: {error.strerror}")
                complete = False
                continue
            if not root.tree.is_directory(entry):
                if as_json:
                    _print_lines(named, "", [(path, root.stat_entry(entry))])
                else:
                    _print_entries([(path, root.stat_entry(entry))], long=long)
                continue
            for inside, folder in _directories(root, entry, path.rstrip("/"), recursive=recursive):
                if as_json:
                    _print_lines(named, f"{inside}/", _children(root, folder))
                    continue
                if len(found) > 1 or recursive:
                    head = shown(f"{named.term.removesuffix(path)}{inside or '/'}:")
                    click.echo(head if not number and folder == entry else f"\n{head}")
                _print_entries(list(_children(root, folder)), long=long)
    return complete


def _print_lines(named: ChosenRoot, above: str, entries: Iterable[tuple[str, Stat]]) -> None:
    """Print a line of JSON for each entry of the directory whose path is `above`."""
    for name, found in entries:
        fields = path_fields(above + name) | file_fields(found)
        print_json_line({"id": named.id, **fields, "modified": modified_time(found)})


def _directories(root: RootFS, entry: int, path: str, *, recursive: bool) -> Iterator[tuple[str, int]]:
    """A directory, and with `recursive` all that are below it, with their paths, in the order of ls -R."""
    tree = root.tree
    top = len(tree.path(entry)) + (entry > 0)
    waiting = [entry]
    while waiting:
        at = waiting.pop()
        yield path if at == entry else f"{path}/{os.fsdecode(tree.path(at)[top:])}", at
        if recursive:
            waiting += [child for child in reversed(tree.children(at)) if tree.is_directory(child)]


def _children(root: RootFS, folder: int) -> Iterator[tuple[str, Stat]]:
    tree = root.tree
    for entry in tree.children(folder):
        yield os.fsdecode(tree.name(entry)), root.stat_entry(tree.inode(entry))


def _print_entries(entries: list[tuple[str, Stat]], *, long: bool) -> None:
    if not long:
        for name, found in entries:
            click.echo(file_name(shown(name), found.mode))
        return
    rows = [_columns(found) for _, found in entries]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for (name, found), (mode, *numbers, when) in zip(entries, rows, strict=True):
        right = " ".join(text.rjust(width) for text, width in zip(numbers, widths[1:], strict=False))
        arrow = f" -> {shown(found.target)}" if stat.S_ISLNK(found.mode) else ""
        click.echo(f"{mode} {right} {when} {file_name(shown(name), found.mode)}{arrow}")


def _columns(found: Stat) -> tuple[str, ...]:
    """What `ls -l` shows before the name: mode, links, owners in numbers, size or device, time."""
    size = f"{found.device[0]}, {found.device[1]}" if found.device else str(found.size)
    if stat.S_ISLNK(found.mode):
        size = str(len(os.fsencode(found.target)))
    when = datetime.fromtimestamp(found.mtime_ns // 1_000_000_000).astimezone()
    return (
        stat.filemode(found.mode),
        str(found.links),
        str(found.uid),
        str(found.gid),
        size,
        f"{when:%Y-%m-%d %H:%M}",
    )


def _path(named: ChosenRoot) -> str:
    if named.path is None:
        raise click.UsageError(f"{named.term!r} has no path (IMAGE:/PATH)")
    return named.path
