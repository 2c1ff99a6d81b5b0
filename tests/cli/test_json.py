"""What `--json` prints is what `imgfs help json` documents, for every command that has it."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from imgfs.cli.image_format import HEADINGS
from imgfs.cli.main import imgfs as group
from imgfs.cli.template import FUNCTIONS
from imgfs.help import topic_text
from tests.conftest import Imgfs
from tests.containers import docker_container
from tests.images import TestImage, docker_archive, layer_tar
from tests.layouts import Layout, artifacts, tagged
from tests.splitting import docker_root


def _documented() -> Mapping[str, tuple[set[str], set[str]]]:
    """The fields of each object in the manual by its name: those that are always there, and the others."""
    text, _, _ = topic_text("json").partition("# Formats")
    found: dict[str, tuple[set[str], set[str]]] = {}
    for name, fields in re.findall(r"^    (\S.*?)   +(\S.*(?:\n {10,}\S.*)*)", text, re.MULTILINE):
        optional = set(" ".join(re.findall(r"\[(.*?)\]", fields, re.DOTALL)).split())
        found[name] = set(re.sub(r"\[.*?\]", "", fields, flags=re.DOTALL).split()), optional
    return found


def _words() -> set[str]:
    _, _, text = topic_text("json").partition("# Words of JSON")
    return set(re.findall(r"^    (\S+)", text, re.MULTILINE))


DOCUMENTED = _documented()


def _check(name: str, found: Mapping[str, Any]) -> None:
    always, sometimes = DOCUMENTED[name]
    assert always <= found.keys() <= always | sometimes, name


@pytest.fixture
def archive(tmp_path: Path) -> str:
    """An archive with a family of two images, of which the second changes and deletes files of the first."""
    link = layer_tar({"etc/": None, "etc/passwd": b"root", "odd\udcff": b"", "secret": b"key"})
    base = TestImage([link], ["example/base:1"], extra={"history": [{"created_by": "COPY"}]})
    change = layer_tar({"etc/passwd": b"toor!", ".wh.secret": b"", "new": b""})
    return str(docker_archive(tmp_path / "a.tar", [base, TestImage([link, change], ["example/app:1"], base)]))


COMMANDS = {
    "ls": "ls {archive}",
    "ps": "ps docker:{root}",
    "tree": "tree {archive}",
    "which": "which {archive}:example/app:1 /etc/passwd",
    "layers": "layers {archive}:example/app:1",
    "check": "check {archive}:example/base:1",
    "ls IMAGE:/PATH": "ls {archive}:example/app:1:/",
    "find": "find {archive}:example/app:1 *",
    "find --layers": "find --layers {archive}:example/app:1 *",
    "locate": "locate --source {archive} --deleted sec",
    "locate --sha256": "locate --source {archive} --sha256 "
    "4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2",
    "diff": "diff {archive}:example/base:1 {archive}:example/app:1",
    "drift": "drift --source docker:{root} name1",
    "timeline": "timeline --deleted {archive}:example/app:1",
    "verify": "verify {archive}",
    "index": "index {archive}",
    "doctor": "doctor",
    "inspect": "inspect --source {archive} example/app:1",
}
LISTS = ("ls", "ls --broken", "ps", "tree", "which", "cache ls", "inspect")
WHOLE = ("layers", "check")


def _objects(name: str, output: bytes) -> Iterator[Mapping[str, Any]]:
    if name in LISTS:
        yield from json.loads(output)
    elif name in WHOLE:
        yield json.loads(output)
    else:
        yield from map(json.loads, output.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_fields_are_those_in_the_manual(
    imgfs: Imgfs, archive: str, tmp_path: Path, images: list[TestImage], name: str
) -> None:
    root = docker_root(tmp_path / "root", images)
    _, own = docker_container(root, images[0])
    (own / "new").touch()
    words = [word.format(archive=archive, root=root) for word in COMMANDS[name].split()]
    objects = list(_objects(name, imgfs(*words, "--json", status=None if name == "doctor" else 0).stdout))
    assert objects
    name = name.partition(" --")[0]
    for found in objects:
        _check(name, found)
        for key in ("layers", "rules", "before", "after", "Layers"):
            inner = found.get(key) if f"{name}: {key}" in DOCUMENTED else None
            for each in inner if isinstance(inner, list) else filter(None, [inner]):
                _check(f"{name}: {key}", each)


def test_broken_images_and_the_cache_have_theirs(imgfs: Imgfs, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    image, entry = layout.image("a")
    source = layout.finish(entry | tagged("a"), artifacts(layout)["helm"])
    for row in json.loads(imgfs("ls", "--all-types", "--json", source).stdout):
        _check("ls", row)
    imgfs("index", source)
    kept = json.loads(imgfs("cache", "ls", "--json").stdout)
    assert {row["type"] for row in kept} == {"index", "locate"}
    for row in kept:
        _check("cache ls", row)
    (tmp_path / "layout/blobs/sha256" / image[7:]).unlink()
    (row,) = json.loads(imgfs("ls", "--broken", "--json", source, status=3).stdout)
    _check("ls --broken", row)


def test_every_word_is_explained_and_used() -> None:
    inspected = {name for name in DOCUMENTED if name.startswith("inspect")}
    lower = (always | sometimes for name, (always, sometimes) in DOCUMENTED.items() if name not in inspected)
    assert set().union(*lower) == _words()


def test_every_command_with_the_option_is_documented() -> None:
    context = click.Context(group)
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    inner = commands.pop("cache")
    assert isinstance(inner, click.Group)
    commands |= {f"cache {name}": command for name, command in inner.commands.items()}
    having = {
        name
        for name, command in commands.items()
        if command is not None and any("--json" in option.opts for option in command.params)
    }
    assert having == {name for name in DOCUMENTED if ":" not in name and "--" not in name}


def test_paths_that_are_not_utf8_have_their_bytes(imgfs: Imgfs, archive: str) -> None:
    for command in (["find", "odd*"], ["ls"]):
        place = f"{archive}:example/base:1" + (":/" if command == ["ls"] else "")
        words = [command[0], "--json", place, *command[1:]]
        rows = [json.loads(line) for line in imgfs(*words).stdout.splitlines()]
        (row,) = (row for row in rows if "path_base64" in row)
        assert (row["path"], row["path_base64"]) == ("/odd\\xff", "L29kZP8=")


def test_fields_and_functions_of_formats_are_in_the_manual() -> None:
    _, _, text = topic_text("json").partition("# Formats")
    words = set(re.findall(r"\w+", text.partition("# Words of JSON")[0]))
    assert {*HEADINGS, *FUNCTIONS} <= words
