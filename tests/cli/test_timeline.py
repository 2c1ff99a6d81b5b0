"""`imgfs timeline`: bodyfiles that mactime reads."""

import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.containers import docker_container
from tests.images import TestImage, docker_archive
from tests.splitting import docker_root
from tests.tools import require_tool
from tests.tree.stacks import Entry, tar

FILE, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
BELOW = tar(
    [
        Entry("etc/passwd", FILE, "one", mtime=1000),
        Entry("etc/hosts", FILE, "1", mtime=1500),
        Entry("etc/gone", FILE, "deleted", mode=0o4755, owner=7, mtime=2000),
        Entry("odd|\n\udcff", FILE, mtime=3000),
        Entry("again", HARDLINK, "etc/passwd", mtime=1000),
    ]
)
ABOVE = tar(
    [
        Entry("etc/passwd", FILE, "three", mtime=4000),
        Entry("etc/hosts", FILE, "2", mtime=4000),
        Entry("etc/.wh.gone", FILE),
        Entry("l", SYMLINK, "a|b", mtime=5000),
    ]
)
IMAGE = TestImage(
    [BELOW, ABOVE],
    ["app:1"],
    extra={"history": [{"created_by": "COPY . /"}, {"created_by": "RUN " + "x" * 100}]},
)
STEP = f"layer 01: RUN {'x' * 53}..."


@pytest.fixture
def image(tmp_path: Path) -> str:
    return f"{docker_archive(tmp_path / 'a.tar', [IMAGE])}:app:1"


def test_each_file_has_its_layer_and_step(imgfs: Imgfs, image: str) -> None:
    lines = imgfs("timeline", image).stdout.decode().splitlines()
    assert [re.sub(r"\|\d+\|(?=[a-z]/)", "|N|", line) for line in lines] == [
        "0|/again (layer 00: COPY . /)|N|r/rrw-r--r--|0|0|3|0|1000|0|0",
        "0|/etc|N|d/drwxr-xr-x|0|0|0|0|4000|0|0",  # no layer has it, only what is in it
        f"0|/etc/hosts ({STEP})|N|r/rrw-r--r--|0|0|1|0|4000|0|0",
        f"0|/etc/passwd ({STEP})|N|r/rrw-r--r--|0|0|5|0|4000|0|0",
        f"0|/l ({STEP}) -> a\\x7cb|N|l/lrwxrwxrwx|0|0|3|0|5000|0|0",
        "0|/odd\\x7c\\x0a\\xff (layer 00: COPY . /)|N|r/rrw-r--r--|0|0|0|0|3000|0|0",
    ]


def test_what_later_layers_delete_or_replace_is_there_on_request(imgfs: Imgfs, image: str) -> None:
    seen = imgfs("timeline", image).stdout
    every = imgfs("timeline", "--deleted", image).stdout
    assert every.startswith(seen)
    deleted = every.removeprefix(seen).decode().splitlines()
    assert [line.split("|")[1] for line in deleted] == [
        "/etc/gone (layer 00: COPY . /) (deleted)",
        "/etc/hosts (layer 00: COPY . /) (deleted)",
    ]
    assert "|r/rrwsr-xr-x|7|7|7|0|2000|0|0" in deleted[0]
    numbers = [line.split("|")[2] for line in every.decode().splitlines()]
    assert len(set(numbers)) == len(numbers)
    rows = [json.loads(line) for line in imgfs("timeline", "--deleted", "--json", image).stdout.splitlines()]
    assert [(row["path"], row["layer"]) for row in rows if row["deleted"]] == [
        ("/etc/gone", 0),
        ("/etc/hosts", 0),
    ]


def test_mactime_reads_every_line(imgfs: Imgfs, image: str) -> None:
    body = imgfs("timeline", "--deleted", image).stdout
    shown = subprocess.run(
        [require_tool("mactime"), "-d", "-z", "UTC"], input=body, capture_output=True, check=True
    )
    assert shown.stderr == b""
    rows = [line.split(",", 7) for line in shown.stdout.decode().splitlines()[1:]]
    modified = {row[7].strip('"'): row[0] for row in rows if "m" in row[2]}
    assert modified["/etc/gone (layer 00: COPY . /) (deleted)"] == "Thu Jan 01 1970 00:33:20"
    assert modified["/odd\\x7c\\x0a\\xff (layer 00: COPY . /)"] == "Thu Jan 01 1970 00:50:00"
    assert len(modified) == body.count(b"\n")


def test_the_layer_of_a_container_is_named(imgfs: Imgfs, tmp_path: Path) -> None:
    image = TestImage([tar([Entry("a", FILE, "1"), Entry("b", FILE, "2")])], ["app:1"])
    root = docker_root(tmp_path / "root", [image])
    _, own = docker_container(root, image)
    (own / "new").write_text("new")
    (own / "a").write_text("other")
    lines = imgfs("timeline", "--deleted", "--source", f"docker:{root}", "name1").stdout.decode().splitlines()
    (new,) = (line for line in lines if line.startswith("0|/new "))
    assert new.split("|")[1] == "/new (layer 02: container name1)"
    (deleted,) = (line for line in lines if "(deleted)" in line)
    assert deleted.split("|")[1] == "/a (layer 00: layer 0) (deleted)"
