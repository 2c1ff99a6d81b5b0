"""The directory of all images."""

import json
from pathlib import Path

import pytest

from imgfs.view import Directory, File, RootDirectory, Symlink
from tests.images import TestImage, docker_archive, layer_tar, oci_layout
from tests.view.conftest import View, find


@pytest.fixture
def folder(view: View, archive: Path) -> Directory:
    """`images/` of the family."""
    folder = find(view(archive), "images")
    assert isinstance(folder, Directory)
    return folder


def names(folder: Directory) -> list[bytes]:
    return [name for name, _ in folder.entries()]


def test_every_image_is_listed_by_the_hex_of_its_id_and_by_nothing_else(
    folder: Directory, images: list[TestImage]
) -> None:
    assert names(folder) == sorted(image.id.hex.encode() for image in images)
    assert all(isinstance(node, Directory) for _, node in folder.entries())


def test_whatever_else_means_an_image_is_a_link_to_it(folder: Directory, images: list[TestImage]) -> None:
    for image in images:
        for term in (image.id, image.id.hex[:12], image.id[:19], image.id.hex[:63]):
            node = folder.lookup(term.encode())
            assert isinstance(node, Symlink)
            assert node.target == image.id.hex.encode()
            assert node.name_may_change  # another image may come whose ID begins so too


def test_digests_of_manifests_are_links_to_the_image(
    view: View, tmp_path: Path, images: list[TestImage]
) -> None:
    layout = oci_layout(tmp_path / "layout", images[:1])
    (manifest,) = json.loads((layout / "index.json").read_text())["manifests"]
    folder = find(view(layout), "images")
    assert isinstance(folder, Directory)
    for term in (manifest["digest"], manifest["digest"][7:], manifest["digest"][7:19]):
        node = folder.lookup(term.encode())
        assert isinstance(node, Symlink)
        assert node.target == images[0].id.hex.encode()
        assert node.name_may_change
    assert names(folder) == [images[0].id.hex.encode()]


@pytest.mark.parametrize(
    "name", [b"nonesuch", b"sha256:", b"sha256", b":", b".", b"\xff\xfe", b"ABC", b"0" * 64, b"a" * 255]
)
def test_what_means_no_image_is_not_there(folder: Directory, name: bytes) -> None:
    assert folder.lookup(name) is None


def test_a_prefix_that_several_images_share_is_not_there(view: View, tmp_path: Path) -> None:
    many = [TestImage([layer_tar({"a": b"%d" % number})]) for number in range(17)]
    folder = find(view(docker_archive(tmp_path / "many.tar", many)), "images")
    assert isinstance(folder, Directory)
    firsts = [image.id.hex[:1] for image in many]
    for first in set(firsts):
        assert (folder.lookup(first.encode()) is None) == (firsts.count(first) > 1)


def test_a_file_has_the_same_key_whichever_way_it_is_found_and_no_other_file_has(
    view: View, archive: Path
) -> None:
    """Inode numbers come from keys."""
    keys: dict[str, str] = {}

    def walk(folder: Directory, path: str) -> None:
        for name, node in folder.entries():
            again = folder.lookup(name)
            assert again is not None, name
            assert (again.key, again.table is None) == (node.key, node.table is None)
            if node.table is None:
                assert keys.setdefault(node.key, path + name.decode()) == path + name.decode()
                if isinstance(node, Directory):
                    walk(node, f"{path}{name.decode()}/")

    walk(view(archive), "/")
    assert len(keys) > 20


def test_an_image_in_two_sources_is_one_image(view: View, tmp_path: Path, images: list[TestImage]) -> None:
    first = docker_archive(tmp_path / "first.tar", images[:2])
    second = oci_layout(tmp_path / "second", images[1:])
    for references in ((first, second), (second, first)):
        folder = find(view(*references), "images")
        assert isinstance(folder, Directory)
        assert names(folder) == sorted(image.id.hex.encode() for image in images)
        for image in images:
            tar = folder.lookup(image.id.hex.encode())
            assert isinstance(tar, Directory)
            file = tar.lookup(b"config.json")
            assert isinstance(file, File)
            assert file.known_size == len(image.config)


def test_an_empty_store_is_an_empty_folder(view: View, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    root = view(tmp_path / "empty")
    assert isinstance(root, RootDirectory)
    assert names(find(root, "images")) == []  # type: ignore[arg-type]
