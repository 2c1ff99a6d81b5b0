"""The Python API: what its docstrings show, and more."""

import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import imgfs
from imgfs.errors import ImageNotFound, NotFound
from tests.conftest import Imgfs
from tests.images import TestImage

pytestmark = pytest.mark.usefixtures("environment")


def test_images_of_a_source_have_all_that_is_known(archive: Path, images: list[TestImage]) -> None:
    with imgfs.open(archive) as opened:
        assert len(opened) == len(images)
        assert {image.id for image in opened} == {image.id for image in images}
        child = opened["example/child"]
        assert child.tags == ("example/child:1", "example/child:latest")
        assert child.parent == images[0].id
        assert child.raw_config == images[1].config
        assert child.config["config"]["Cmd"] == ["sh"]
        assert child.created is not None and child.created.year == 2024
        assert child is opened[images[1].id[:15]]
        assert "example/child" in opened and "none" not in opened
        with pytest.raises(ImageNotFound):
            opened["none"]


def test_one_image_of_a_source_is_opened_alone(archive: Path, images: list[TestImage]) -> None:
    with imgfs.open(f"{archive}:example/child") as opened:
        assert [image.id for image in opened] == [images[1].id]
        assert len(opened) == 1
        assert images[0].id in opened and images[2].id not in opened  # what it is based on is there


def test_layers_give_their_tars_and_trees(archive: Path, images: list[TestImage]) -> None:
    with imgfs.open(archive) as opened:
        image = opened["example/grandchild:1"]
        for layer, expected in zip(image.layers, images[2].layers, strict=True):
            with layer.open() as tar:
                data = tar.read()
            assert data == expected
            assert layer.size == len(expected)
            assert layer.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert (image.layers[-1].files / "etc/.wh.passwd").exists()
        assert not (image.rootfs / "etc/passwd").exists()


def test_tars_are_files_that_tarfile_reads(archive: Path, images: list[TestImage]) -> None:
    with imgfs.open_image(f"{archive}:example/child:1") as image:
        with image.open_rootfs_tar(verbatim=True) as file:
            assert file.read() == images[1].verbatim
        with image.open_rootfs_tar() as file, tarfile.open(fileobj=file) as tar:
            assert {"bin/tool", "etc/passwd", "data/file-0000"} <= set(tar.getnames())
        with image.open_flat_tar() as file:
            assert file.read() == image.flat_tar.read()
        with tarfile.open(fileobj=image.rootfs_tar) as tar:
            assert "bin/tool" in tar.getnames()
        image.flat_tar.seek(0)
        with tarfile.open(fileobj=image.flat_tar) as tar:
            assert tar.extractfile("etc/passwd").read() == b"root:x:0:0\n" * 1000  # type: ignore[union-attr]


def test_where_a_path_comes_from_and_what_differs(archive: Path) -> None:
    with imgfs.open(archive) as opened:
        base, child = opened["example/base:1"], opened["example/child:1"]
        assert [event.layer for event in child.which("/data/file-0001")] == [2]
        found = {difference.path: difference.change for difference in base.diff(child)}
        assert found["/data"] == "added" and len(found) == 301


def test_an_image_is_named_as_on_the_command_line(imgfs_store: None) -> None:
    with imgfs.open_image("example/child") as image:
        assert (image.rootfs / "etc/passwd").read_text().startswith("root:")
        file = (image.rootfs / "bin/tool").open("rb")
    assert len(file.read()) == 200_000  # what is open stays readable
    with pytest.raises(NotFound, match="did you mean example/child:1"):
        imgfs.open_image("example/chld:1")


@pytest.fixture
def imgfs_store(imgfs: Imgfs, archive: Path) -> None:
    """The family in the default store."""
    imgfs("load", archive)


def test_importing_imports_neither_fuse_nor_what_is_not_used() -> None:
    program = "import imgfs, sys; imgfs.__version__; assert 'imgfs.rootfs' not in sys.modules; imgfs.open; "
    program += (
        "assert 'imgfs.rootfs' in sys.modules and 'pyfuse3' not in sys.modules and 'trio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError):
        _ = imgfs.nothing


def test_no_file_of_a_source_stays_open_when_images_are_closed(archive: Path) -> None:
    with imgfs.open_image(f"{archive}:example/child:1") as image:
        assert (image.rootfs / "etc/passwd").read_bytes()
        assert [path.read_bytes() for layer in image.layers for path in layer.files.glob("etc/passwd")]
        assert archive.resolve() in open_files()
    assert archive.resolve() not in open_files()


def open_files() -> list[Path]:
    """The files that this process has open."""
    return [path.resolve() for path in Path("/proc/self/fd").iterdir() if path.exists()]
