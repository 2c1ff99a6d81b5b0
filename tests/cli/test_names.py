"""Names and removal: `imgfs tag` and `imgfs rm`."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.images import TestImage, docker_archive, layer_tar


@pytest.fixture
def filled(imgfs: Imgfs, archive: Path) -> Path:
    """The default store with the family loaded; answers its folder."""
    imgfs("load", archive)
    return archive.parent / "data/imgfs"


def _tags(imgfs: Imgfs) -> dict[str, list[str]]:
    return {row["id"]: row["tags"] for row in json.loads(imgfs("ls", "--json").stdout)}


def test_a_name_moves_to_the_image_it_is_given_to(
    imgfs: Imgfs, filled: Path, images: list[TestImage]
) -> None:
    base, child, _ = images
    imgfs("tag", "example/base:1", "new")
    assert "new:latest" in _tags(imgfs)[base.id]
    imgfs("tag", child.id[7:19], "new:latest")
    assert "new:latest" not in _tags(imgfs)[base.id]
    assert "new:latest" in _tags(imgfs)[child.id]


@pytest.mark.parametrize("name", ["UPPER", "a b", "-x", "x:", "x:" + "t" * 129, "../x", ""])
def test_names_that_docker_refuses_are_refused(imgfs: Imgfs, filled: Path, name: str) -> None:
    assert b"not a valid name" in imgfs("tag", "--", "example/base:1", name, status=1).stderr


def test_an_unknown_or_ambiguous_image_is_one_line(imgfs: Imgfs, filled: Path) -> None:
    assert imgfs("rm", "nonesuch", status=1).stderr == b"imgfs: No such image: nonesuch\n"
    assert imgfs("rm", "", status=1).stderr.count(b"\n") == 1


def test_rm_refuses_an_image_with_children(imgfs: Imgfs, filled: Path, images: list[TestImage]) -> None:
    assert b"child" in imgfs("rm", "example/base:1", status=1).stderr
    assert images[0].id in _tags(imgfs)


def test_rm_by_force_leaves_children_without_a_parent(
    imgfs: Imgfs, filled: Path, images: list[TestImage]
) -> None:
    imgfs("rm", "--force", images[0].id)
    rows = {row["id"]: row for row in json.loads(imgfs("ls", "--json").stdout)}
    assert rows.keys() == {image.id for image in images[1:]}
    assert rows[images[1].id]["parent"] is None
    assert imgfs("export", images[1].id, "--tar", "verbatim").stdout == images[1].verbatim


def test_rm_frees_the_layers_that_nobody_else_has(
    imgfs: Imgfs, filled: Path, images: list[TestImage]
) -> None:
    count = len(os.listdir(filled / "blobs/sha256"))
    assert count == 4
    imgfs("rm", images[2].id[7:17])
    assert len(os.listdir(filled / "blobs/sha256")) == 3
    imgfs("rm", "--force", "example/child")
    imgfs("rm", "example/base:1")
    assert not _tags(imgfs)
    for folder in (
        "blobs/sha256",
        "layers/sha256",
        "tmp",
        "imagedb/content/sha256",
        "imagedb/metadata/sha256",
    ):
        assert os.listdir(filled / folder) == []


def test_rm_by_one_of_several_names_only_takes_the_name(
    imgfs: Imgfs, filled: Path, images: list[TestImage]
) -> None:
    imgfs("tag", images[2].id, "example/other")
    assert imgfs("rm", "example/other").stdout == b"Untagged: example/other:latest\n"
    assert _tags(imgfs)[images[2].id] == list(images[2].tags)
    imgfs("tag", images[2].id, "example/other")
    assert b"several names" in imgfs("rm", images[2].id, status=1).stderr


def test_rm_takes_a_name_without_what_engines_put_before_it(
    imgfs: Imgfs, filled: Path, images: list[TestImage]
) -> None:
    image_id = images[2].id
    imgfs("tag", image_id, "docker.io/library/foo")
    assert imgfs("rm", "foo").stdout == b"Untagged: docker.io/library/foo:latest\n"
    assert _tags(imgfs)[image_id] == list(images[2].tags)


def test_rm_does_not_send_names_control_characters_to_the_terminal(imgfs: Imgfs, tmp_path: Path) -> None:
    names = ["evil\x1b[2J:1", "evil\x1b[2J:2"]
    imgfs("load", docker_archive(tmp_path / "evil.tar", [TestImage([layer_tar({"a": b""})], names)]))
    shown = imgfs("rm", names[0]).stdout + imgfs("rm", names[1]).stdout
    assert shown.count(b"Untagged: evil\\x1b[2J:") == 2
    assert b"\x1b" not in shown
