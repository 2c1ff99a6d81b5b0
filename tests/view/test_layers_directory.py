"""`layers/` of images."""

from pathlib import Path

import pytest

from imgfs.view import Directory, File
from tests.images import TestImage, docker_archive, layer_tar
from tests.view.conftest import View, content, find


def names(folder: object) -> list[str]:
    assert isinstance(folder, Directory)
    return [name.decode() for name, _ in folder.entries()]


def test_each_layer_has_a_directory_and_a_tar_in_order(
    view: View, archive: Path, images: list[TestImage]
) -> None:
    image = images[-1]
    root = view(archive)
    path = f"images/{image.id.hex}/layers"
    found = names(find(root, path))
    assert [name[:3] for name in found] == ["00-", "00-", "01-", "01-", "02-", "02-", "03-", "03-"]
    for number, layer in enumerate(image.layers):
        assert found[2 * number + 1] == f"{found[2 * number]}.tar"
        assert content(root, f"{path}/{found[2 * number + 1]}") == layer


def test_a_hundred_layers_are_numbered_so_that_names_sort(view: View, tmp_path: Path) -> None:
    image = TestImage([layer_tar({f"{number}": b""}) for number in range(101)])
    found = names(find(view(docker_archive(tmp_path / "one.tar", [image])), f"images/{image.id.hex}/layers"))
    assert (found[0][:4], found[-1][:4]) == ("000-", "100-")
    assert found == sorted(found)


@pytest.mark.parametrize("name", [b"00", b"00-", b"99-0123456789ab", b".tar", b"00-0123456789ab.tar.tar"])
def test_no_other_name_is_a_layer(view: View, archive: Path, images: list[TestImage], name: bytes) -> None:
    folder = find(view(archive), f"images/{images[0].id.hex}/layers")
    assert isinstance(folder, Directory)
    assert folder.lookup(name) is None


def test_the_size_of_a_tar_is_looked_for_before_all_is_read(
    view: View, tmp_path: Path, images: list[TestImage]
) -> None:
    image = images[0]
    folder = find(view(docker_archive(tmp_path / "one.tar", [image])), f"images/{image.id.hex}/layers")
    assert isinstance(folder, Directory)
    tar = folder.lookup(names(folder)[1].encode())
    assert isinstance(tar, File)
    assert tar.known_size is None
    assert tar.look_for_size() == tar.known_size == len(image.layers[0])
