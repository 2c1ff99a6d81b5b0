"""`rootfs.tar`, `flat.tar` and `rootfs.erofs` of images."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from imgfs.errors import StoreError
from imgfs.view import File
from tests.erofs.images import image_facts
from tests.images import TestImage, docker_archive
from tests.tree.stacks import Entry, tar
from tests.view.conftest import View, content, find


def test_the_tar_is_joined_or_verbatim_as_is_chosen(
    view: View, archive: Path, images: list[TestImage]
) -> None:
    joined, verbatim = view(archive), view(archive, verbatim_tar=True)
    for image in images:
        path = f"images/{image.id.hex}/rootfs.tar"
        assert content(verbatim, path) == image.verbatim
        data = content(joined, path)
        assert len(data) == len(image.verbatim)
        assert (data == image.verbatim) is (len(image.layers) == 1)


def test_the_tars_size_is_known_at_once_or_once_it_was_found_out(
    view: View, tmp_path: Path, layout: Path, images: list[TestImage]
) -> None:
    image = images[-1]
    archive = docker_archive(tmp_path / "one.tar", [image])
    plain, packed = (find(view(source), f"images/{image.id.hex}/rootfs.tar") for source in (archive, layout))
    assert isinstance(plain, File)
    assert isinstance(packed, File)
    assert (plain.known_size, packed.known_size) == (None, None), "nothing was looked at so far"
    assert (plain.look_for_size(), packed.look_for_size()) == (len(image.verbatim), None)
    assert plain.known_size == len(image.verbatim)
    assert packed.find_size() == packed.known_size == len(image.verbatim)


def test_a_layer_that_is_missing_fails_when_a_read_gets_to_it(
    view: View, layout: Path, images: list[TestImage]
) -> None:
    image = images[-1]
    for entry in json.loads((layout / "index.json").read_text())["manifests"]:
        manifest = json.loads((layout / "blobs/sha256" / entry["digest"][7:]).read_text())
        if manifest["config"]["digest"] == image.id:
            (layout / "blobs/sha256" / manifest["layers"][1]["digest"][7:]).unlink()
    file = find(view(layout, verbatim_tar=True), f"images/{image.id.hex}/rootfs.tar")
    assert isinstance(file, File)
    with file.open() as blob:
        assert blob.pread(len(image.layers[0]), 0) == image.layers[0]
        with pytest.raises(StoreError, match="is not there"):
            blob.pread(1, len(image.layers[0]))


def test_the_size_of_the_flat_tar_is_known_once_it_was_opened(
    view: View, archive: Path, images: list[TestImage]
) -> None:
    image = images[-1]
    root = view(archive)
    path = f"images/{image.id.hex}/flat.tar"
    file = find(root, path)
    assert isinstance(file, File)
    assert (file.known_size, file.look_for_size()) == (None, None)
    data = content(root, path)
    again = find(root, path)
    assert isinstance(again, File)
    assert again.known_size == file.known_size == len(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as flat:
        assert "bin/tool" in flat.getnames()
        assert "etc/passwd" not in flat.getnames()


def test_rootfs_erofs_has_the_links_of_the_mount(view: View, tmp_path: Path) -> None:
    image = TestImage([tar([Entry("a/link", tarfile.SYMTYPE, "/b"), Entry("b", tarfile.REGTYPE, "b")])])
    archive = docker_archive(tmp_path / "links.tar", [image])
    for links_inside, target in ((False, b"/b"), (True, b"../b")):
        root = view(archive, links_inside=links_inside)
        file = find(root, f"images/{image.id.hex}/rootfs.erofs")
        assert isinstance(file, File)
        assert file.known_size is None
        with file.open() as blob:
            assert file.known_size == blob.size
            facts = image_facts(blob)
        assert (facts[b"a/link"][5], facts[b"b"][5]) == (target, b"b")
