"""Images named in every way that users name them."""

from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.images import TestImage, docker_archive, layer_tar, oci_layout


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """An archive with one image, `a/one:latest`, with the file `name`."""
    image = TestImage([layer_tar({"name": b"one\n"})], ["a/one:latest"])
    return docker_archive(tmp_path / "one.tar", [image])


@pytest.fixture
def several(tmp_path: Path, one: Path) -> Path:
    """A layout with `a/one:latest`, which is another image than in `one`, and `a/two:latest`."""
    images = [
        TestImage([layer_tar({"name": f"other {n}\n".encode()})], [f"a/{n}:latest"]) for n in ("one", "two")
    ]
    return oci_layout(tmp_path / "several", images)


def test_every_way_to_name_one_leads_to_it(imgfs: Imgfs, one: Path, several: Path) -> None:
    imgfs("load", one)
    for image, content in {
        "a/one": b"one\n",
        "a/one:latest": b"one\n",
        "imgfs:a/one": b"one\n",
        f"{one}": b"one\n",
        f"docker-archive:{one}": b"one\n",
        f"docker-archive:{one}:a/one:latest": b"one\n",
        f"docker-archive:{one}:@0": b"one\n",
        f"oci:{several}:a/two:latest": b"other two\n",
        f"{several}:a/two:latest": b"other two\n",
    }.items():
        assert imgfs("cat", f"{image}:/name").stdout == content
    assert imgfs("diff", "a/one", f"{several}:a/one:latest").stdout.startswith(b"C ")
    assert imgfs("which", "a/one:/name").stdout == imgfs("which", "a/one", "name").stdout


def test_an_image_of_a_source_with_several_is_to_be_chosen(imgfs: Imgfs, several: Path) -> None:
    line = imgfs("cat", f"{several}:/name", status=1).stderr.decode()
    assert line == f"imgfs: {several}:/name: 2 images are there, choose one: a/one:latest, a/two:latest\n"


def test_a_name_of_different_images_is_an_error_that_lists_them(
    imgfs: Imgfs, one: Path, several: Path
) -> None:
    line = imgfs("cat", "--source", one, "--source", several, "a/one:/name", status=1).stderr.decode()
    assert "a/one:/name is the name of different images: " in line
    assert f" in docker-archive:{one}, " in line and f" in oci:{several}" in line
    assert imgfs("cat", "--source", one, "--source", several, "a/two:/name").stdout == b"other two\n"


def test_near_names_are_suggested_and_places_named(imgfs: Imgfs, one: Path, tmp_path: Path) -> None:
    imgfs("load", one)
    line = imgfs("cat", "a/onne:/name", status=1).stderr.decode()
    assert line.startswith("imgfs: No such image: a/onne:/name (looked in imgfs:")
    assert line.endswith("; did you mean a/one:latest?\n")
    assert "did you mean a/one:latest?" in imgfs("cat", "on:/name", status=1).stderr.decode()
    (tmp_path / "file").touch()


def test_a_source_is_not_named_twice(imgfs: Imgfs, one: Path) -> None:
    assert b"beside --source" in imgfs("cat", "--source", one, f"{one}:/name", status=1).stderr
