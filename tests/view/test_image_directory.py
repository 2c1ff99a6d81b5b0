"""Directories of images."""

import json
from pathlib import Path

import pytest

from imgfs.errors import ImageNotFound
from imgfs.sources import open_source
from imgfs.sources.union import Union
from imgfs.view import Directory, File, RootDirectory, ViewOptions
from tests.images import TestImage, docker_archive, layer_tar
from tests.indexing import indexing
from tests.view.conftest import View, content, find


def test_the_config_is_the_bytes_whose_digest_names_the_image(
    view: View, archive: Path, images: list[TestImage]
) -> None:
    root = view(archive)
    for image in images:
        assert content(root, f"images/{image.id.hex}/config.json") == image.config


def test_the_recorded_parent_is_one_line_or_nothing(
    view: View, archive: Path, images: list[TestImage]
) -> None:
    root = view(archive)
    base, child, grandchild = images
    assert content(root, f"images/{grandchild.id.hex}/parent") == f"{child.id}\n".encode()
    assert content(root, f"images/{base.id.hex}/parent") == b""


def test_a_parent_that_is_not_there_is_told_all_the_same(
    view: View, tmp_path: Path, images: list[TestImage]
) -> None:
    _, child, grandchild = images
    root = view(docker_archive(tmp_path / "one.tar", [grandchild]))
    assert content(root, f"images/{grandchild.id.hex}/parent") == f"{child.id}\n".encode()


def test_what_goes_is_gone_but_stays_readable_to_who_has_it_open(
    tmp_path: Path, layout: Path, images: list[TestImage]
) -> None:
    image = images[-1]
    with indexing(tmp_path) as indexer:
        union = Union([open_source(str(layout), indexer)])
        root = RootDirectory(union, ViewOptions(verbatim_tar=True))
        folder = find(root, "images")
        assert isinstance(folder, Directory)
        file = find(root, f"images/{image.id.hex}/rootfs.tar")
        children = find(root, f"images/{images[0].id.hex}/children")
        texts = [find(root, f"images/{image.id.hex}/{name}") for name in ("history", "tags", "parent")]
        assert isinstance(file, File)
        assert isinstance(children, Directory)
        with file.open() as blob:
            index = json.loads((layout / "index.json").read_text())
            index["manifests"] = index["manifests"][:1]
            (layout / "index.json").write_text(json.dumps(index))
            assert union.refresh()
            assert [name for name, _ in folder.entries()] == [images[0].id.hex.encode()]
            assert folder.lookup(image.id.hex.encode()) is None
            assert list(children.entries()) == []
            with pytest.raises(ImageNotFound):
                file.open()
            assert file.known_size is None
            for text in texts:  # which the kernel may ask about at any time
                assert isinstance(text, File)
                assert text.look_for_size() is not None
            with pytest.raises(ImageNotFound):
                file.find_size()
            assert blob.pread(len(image.verbatim), 0) == image.verbatim
        root.close()
        union.close()


@pytest.mark.parametrize(
    ("created", "seconds"),
    [
        ("2024-01-02T03:04:05.678Z", 1_704_164_645),
        ("1969-12-31T23:59:59Z", -1),
        ("0001-01-01T00:00:00Z", 0),
        (None, 0),
        (5, 0),
    ],
)
def test_times_are_when_the_image_was_made(view: View, tmp_path: Path, created: object, seconds: int) -> None:
    image = TestImage([layer_tar({"a": b"a"})], extra={"created": created})
    root = view(docker_archive(tmp_path / "one.tar", [image]))
    for path in ("", "/config.json", "/rootfs.tar", "/children"):
        assert find(root, f"images/{image.id.hex}{path}").mtime_ns == seconds * 1_000_000_000
