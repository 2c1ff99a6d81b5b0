"""What may come next on a command line, for shells: commands, options and their values, images, containers, sources
and paths.

Commands and their options are those of a table beside the manual, `help/commands.json`, so no command is imported. What
an argument is follows from what the usage calls it, such as `IMAGE:/PATH`.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TypedDict

from imgfs.errors import ImgfsError

STORES = ("imgfs", "docker", "containers-storage", "containerd")
"""Sources that a name follows."""

_PATHS = ("oci", "oci-archive", "docker-archive")
"""Sources that a path follows."""

_FILES = ("FILE", "DIRECTORY", "DIR", "PATH", "MOUNTPOINT", "DESTINATION", "OUTPUT")
_ONLY_DIRECTORIES = ("DIRECTORY", "DIR", "MOUNTPOINT")
_IMAGES = ("IMAGE", "SOURCE-IMAGE", "BEFORE", "AFTER", "SOURCE")
_CONTAINERS = ("CONTAINER", "BEFORE", "AFTER", "CONTAINER:/PATH")

Found = Iterable[tuple[str, str]]
"""Words that may stand there, each with a description. After one that ends in one of `/:=,` more may follow."""


class Command(TypedDict):
    """What follows a command: commands with descriptions, options with their values and descriptions, arguments."""

    commands: Mapping[str, str]
    options: Mapping[str, tuple[str, str]]
    arguments: Sequence[str]


class Table(TypedDict):
    """All commands by their names, those of a group after that of the group; topics, and options of `mount -o`."""

    commands: Mapping[str, Command]
    topics: Sequence[str]
    mount_options: Sequence[str]


def _table() -> Table:
    path = os.path.join(os.path.dirname(os.path.dirname(__file__)), "help", "commands.json")
    with open(path, encoding="utf-8") as file:
        table: Table = json.load(file)
    return table


def complete(shell: str, line: str) -> None:
    """Print what the last word of a command line may be, as the script of `shell` takes it."""
    words, quote = split(line)
    current = words[-1]
    try:
        found = {text: help_ for text, help_ in candidates(words) if text.startswith(current)}
    except (ImgfsError, OSError):  # there is no such image, so nothing may come next
        return
    breaks = os.environ.get("COMP_WORDBREAKS", "")
    kept = 0  # bash replaces only what stands behind one of these
    if shell == "bash" and not quote:
        kept = max((current.rfind(char) for char in ":=" if char in breaks), default=-1) + 1
    for text, help_ in sorted(found.items()):
        if not text.isprintable() or (shell == "bash" and quote == "'" in text):
            continue  # it cannot be typed so
        end = "" if text.endswith(("/", ":", "=", ",")) else " "
        if shell == "bash":
            sys.stdout.write(f"{_escaped(text[kept:], quote)}{end}\n")
        else:
            sys.stdout.write(f"{text}{end if shell == 'zsh' else ''}\t{help_}\n")


def split(line: str) -> tuple[list[str], str]:
    """The words of a command line up to the cursor, the last of which may be empty, and the quote that it is in."""
    for quote in ("", '"', "'"):
        try:
            words = shlex.split(f"{line}\1{quote}")
        except ValueError:
            continue
        return [*words[:-1], words[-1].replace("\1", "")], quote
    return [""], ""


def candidates(words: Sequence[str]) -> Found:
    """What the last of some words may be; the first is the program, or something that runs it, such as sudo."""
    begin = next((at for at, word in enumerate(words[:-1]) if os.path.basename(word) == "imgfs"), 0)
    words, current = words[begin + 1 : -1], words[-1]
    table, path, rest = _table(), "", list(words)
    while table["commands"][path]["commands"]:
        name = next((word for word in rest if not word.startswith("-")), None)
        if name is None:
            break
        if name not in table["commands"][path]["commands"]:
            return ()
        rest = rest[rest.index(name) + 1 :]
        path = f"{path} {name}".strip()
    return _in_command(table, table["commands"][path], rest, current)


def _in_command(table: Table, command: Command, words: Sequence[str], current: str) -> Found:
    options = command["options"]
    given, awaited, only_arguments = 0, "", False
    for word in words:
        if awaited:
            awaited = ""
        elif word == "--" and not only_arguments:
            only_arguments = True
        elif word.startswith("-") and word != "-" and not only_arguments:
            awaited, _ = options.get(word, ("", ""))
        else:
            given += 1
    name, equals, value = current.partition("=")
    if awaited:
        return _values(table, awaited, current)
    if current.startswith("-") and not only_arguments:
        if equals and name in options:
            return ((f"{name}={text}", help_) for text, help_ in _values(table, options[name][0], value))
        return ((option, help_) for option, (_, help_) in options.items())
    if command["commands"]:
        return command["commands"].items()
    if command["arguments"] == ["MOUNTPOINT"]:  # of umount
        return chain(_mounts(), files(current, only_directories=True))
    return _values(table, "|".join(_possible(command["arguments"], given)), current)


def _possible(arguments: Sequence[str], given: int) -> Iterator[str]:
    """How the usage calls the arguments that may stand at a place, after some were given."""
    for place, argument in enumerate(arguments):
        follows = place > 0 and "..." in arguments[place - 1] and given >= place
        is_next = place == given or follows or (place < given and "..." in argument)
        kinds = re.sub(r"[][.]", "", argument)
        if is_next and kinds != "PATH":  # which is in the image that stands before it
            yield kinds


def _values(table: Table, usage: str, current: str) -> Iterator[tuple[str, str]]:
    """The values of what the usage calls by some names, with `|` between them."""
    kinds = usage.replace("...", "").split("|")
    if "OPT[,OPT]" in usage:
        before, comma, _ = current.rpartition(",")
        yield from ((f"{before}{comma}{option}", "") for option in table["mount_options"])
        return
    if "TOPIC" in kinds:
        yield from ((topic, "a topic of the manual") for topic in table["topics"])
        yield from table["commands"][""]["commands"].items()
    yield from ((kind, "") for kind in kinds if kind.lower() == kind)  # the value itself
    is_path = any("/PATH" in kind for kind in kinds)
    if is_path and (at := _path_in_image(current)):
        yield from _paths(current[:at], current[at + 1 :])
        return
    if is_path or any(kind in _IMAGES for kind in kinds):
        yield from _images(current, with_path=is_path and not {"IMAGE", "IMAGE:/PATH"} <= set(kinds))
    if any(kind in _CONTAINERS for kind in kinds):
        yield from _containers(current, with_path="CONTAINER:/PATH" in kinds)
    if "DESTINATION-IMAGE" in kinds:
        yield from _destinations(current)
    if any(kind in _FILES for kind in kinds) or ("SOURCE" in kinds and ":" not in current):
        only = all(kind in _ONLY_DIRECTORIES for kind in kinds)
        yield from files(current, only_directories=only)


def _path_in_image(text: str) -> int:
    """Where the path in an image begins, 0 if there is none."""
    at = text.find(":/")
    if text[: max(at, 0)] in (*STORES, *_PATHS):
        at = text.find(":/", at + 1)
    return max(at, 0)


def _paths(image: str, path: str) -> Iterator[tuple[str, str]]:
    from imgfs.cli.known_names import entries_of

    directory = path.rpartition("/")[0] + "/"
    for name in entries_of(image, directory):
        yield f"{image}:{directory}{name}", ""


def _images(current: str, *, with_path: bool) -> Iterator[tuple[str, str]]:
    """Images by name, those without one by ID, and sources."""
    from imgfs.cli.known_names import names_in, names_of

    end = ":/" if with_path else ""
    scheme, colon, rest = current.partition(":")
    if colon and scheme in _PATHS:
        for text, _ in files(rest):
            yield f"{scheme}:{text}", ""
        place, colon, _ = rest.rpartition(":")
        if colon and os.path.exists(place):
            yield from ((f"{scheme}:{place}:{name}{end}", "") for name in names_in(f"{scheme}:{place}"))
        return
    place, colon, _ = current.rpartition(":")
    if colon and os.path.exists(place):
        yield from ((f"{place}:{name}{end}", "") for name in names_in(place))
    if current.startswith((".", "/")):
        yield from files(current)
        return
    scheme, colon, rest = current.partition(":")
    is_store = bool(colon) and scheme in STORES
    before, term = (f"{scheme}:", rest) if is_store else ("", current)
    found = list(_spelled(names_of(scheme if is_store else None), term))
    yield from ((f"{before}{name}{end}", help_) for name, help_ in found)
    if is_store:
        return
    yield from ((f"{source}:", "") for source in (*STORES, *_PATHS))
    if term and not any(name.startswith(term) for name, _ in found):  # it may be a path
        yield from files(current)


def _destinations(current: str) -> Iterator[tuple[str, str]]:
    """Where images are copied to, and paths there."""
    scheme, colon, rest = current.partition(":")
    if not colon:
        yield from ((f"{place}:", "") for place in ("imgfs", *_PATHS))
        yield "docker://", ""
    elif scheme in _PATHS:
        yield from ((f"{scheme}:{text}", "") for text, _ in files(rest))


def _containers(current: str, *, with_path: bool) -> Iterator[tuple[str, str]]:
    """Containers by name; by ID, too, once some of it is typed."""
    from imgfs.cli.known_names import containers_of

    scheme, colon, _ = current.partition(":")
    before = f"{scheme}:" if colon and scheme in (*STORES, "container") else ""
    for name, container_id in containers_of(scheme if before and scheme in STORES else None):
        short = container_id[:12]
        for text in (name or short, short) if current != before else (name or short,):
            yield f"{before}{text}{':/' if with_path else ''}", f"container {short}"


def _spelled(names: Iterable[tuple[str, str]], term: str) -> Iterator[tuple[str, str]]:
    """Images by name, those without one by ID.

    Once some of it is typed, also named ones by ID, and without what engines put before a name.
    """
    for name, image_id in names:
        short = image_id.removeprefix("sha256:")[:12]
        yield name or short, short
        if term and name:
            yield short, name
            yield name.removeprefix("docker.io/").removeprefix("library/"), short
            yield name.removeprefix("localhost/"), short


def _mounts() -> Iterator[tuple[str, str]]:
    """The mounts of imgfs, each with what is mounted."""
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields = [
                re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field) for field in line.split(" ")
            ]
            if fields[2] == "fuse.imgfs":
                yield fields[1], fields[0]


def files(current: str, *, only_directories: bool = False) -> Iterator[tuple[str, str]]:
    """Files and directories that a path may become."""
    folder, slash, name = current.rpartition("/")
    try:
        entries = list(os.scandir(os.path.expanduser(f"{folder}{slash}") or "."))
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") and not name.startswith("."):
            continue
        if entry.is_dir():
            yield f"{folder}{slash}{entry.name}/", ""
        elif not only_directories:
            yield f"{folder}{slash}{entry.name}", ""


def _escaped(text: str, quote: str) -> str:
    """Text that bash takes as it is, in quotes or without."""
    special = {"": " \"'\\$`&|;<>()*?[]{}!#~^", '"': '"\\$`', "'": ""}[quote]
    return "".join(f"\\{char}" if char in special else char for char in text)
