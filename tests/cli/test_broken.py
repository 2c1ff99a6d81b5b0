"""What is broken in a source never vanishes without a line: `ls`, `ls --broken`, `tree` and `verify`."""

import base64
import json
import os
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount
from tests.damage import DAMAGES
from tests.images import TestImage, docker_archive, layer_tar, oci_layout
from tests.splitting import docker_root, graph_root

GOOD = TestImage([layer_tar({"a": b"a"})], ["example/good:1"])
BAD = TestImage([layer_tar({"b": b"b"})], ["example/bad:1", "example/bad:2"])


def make(kind: str, imgfs: Imgfs, folder: Path) -> tuple[str, Path]:
    """A source of a kind with both images, and where the config of the bad one lies."""
    place, images = folder / "place", [GOOD, BAD]
    match kind:
        case "docker":
            docker_root(place, images)
            config = place / "image/overlay2/imagedb/content/sha256" / BAD.id[7:]
        case "containers-storage":
            graph_root(place, images)
            name = "=" + base64.b64encode(BAD.id.encode()).decode()
            config = place / "overlay-images" / BAD.id[7:] / name
        case "oci":
            oci_layout(place, images)
            config = place / "blobs/sha256" / BAD.id[7:]
        case _:
            imgfs("load", "-q", docker_archive(folder / "both.tar", images), "--store", place)
            config = place / "imagedb/content/sha256" / BAD.id[7:]
    return f"{kind}:{place}", config


KINDS = ["imgfs", "docker", "containers-storage", "oci"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["remove", "pipe", "directory", "flip"])
def test_a_named_image_whose_config_is_damaged_is_listed_as_broken(
    imgfs: Imgfs, tmp_path: Path, kind: str, how: str
) -> None:
    source, config = make(kind, imgfs, tmp_path)
    DAMAGES[how](config)
    done = imgfs("ls", "--broken", "--json", source, status=3)
    (broken,) = json.loads(done.stdout)
    assert sorted(broken["tags"]) == list(BAD.tags)
    assert len(done.stderr.splitlines()) == 1
    assert broken["problem"] in done.stderr.decode()
    assert BAD.id[7:] in broken["problem"] + broken["id"]


@pytest.mark.parametrize("kind", KINDS)
def test_lists_end_with_3_if_they_are_not_all(imgfs: Imgfs, tmp_path: Path, kind: str) -> None:
    source, config = make(kind, imgfs, tmp_path)
    assert imgfs("ls", "--broken", source).stdout.split() == [b"TAG", b"IMAGE", b"ID", b"PROBLEM"]
    config.unlink()
    done = imgfs("ls", source, status=3)
    assert b"example/good:1" in done.stdout
    assert b"example/bad:1" not in done.stdout
    assert imgfs("tree", source, status=3).stdout.count(b"\n") == 1
    lines = imgfs("ls", "--broken", source, status=3).stdout.decode().splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(BAD.tags)
    assert b"BAD" in imgfs("verify", "-q", source, status=1).stdout


def test_a_source_that_is_left_out_makes_a_list_incomplete(imgfs: Imgfs, archive: Path) -> None:
    assert imgfs("ls", archive, "--all").returncode == 0
    done = imgfs("ls", archive, "containerd:", "--broken", status=3)
    assert b"skipping containerd:" in done.stdout


def test_names_that_could_steer_a_terminal_are_escaped_everywhere(
    imgfs: Imgfs, mount: Mount, tmp_path: Path
) -> None:
    odd = "evil\x1b]0;x\x07/\u202ename\n:1"
    shown = r"evil\x1b]0;x\x07/\u202ename\n:1"
    path = docker_archive(tmp_path / "odd.tar", [TestImage(GOOD.layers, [odd])])
    imgfs("load", "-q", path)
    (row,) = json.loads(imgfs("ls", "--json").stdout)
    assert row["tags"] == [shown]
    with mount("imgfs:") as top:
        assert (top / "images" / GOOD.id[7:] / "tags").read_text() == shown + "\n"
        first, second = shown.split("/")
        assert os.listdir(top / "tags") == [first]
        assert os.listdir(top / "tags" / first) == [second.removesuffix(":1")]
        assert os.listdir(top / "tags" / first / second.removesuffix(":1")) == ["1"]
        assert (top / "tags" / first / second / "config.json").read_bytes() == GOOD.config
    imgfs("tag", shown, "plain:1")
    imgfs("rm", shown)
    assert [row["tags"] for row in json.loads(imgfs("ls", "--json").stdout)] == [["plain:1"]]
