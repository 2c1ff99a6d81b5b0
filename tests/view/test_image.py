import json
from pathlib import Path

import pytest

from imgfs.errors import ImageNotFound, StoreError
from imgfs.sources import open_source
from imgfs.sources.union import Union
from imgfs.view import Directory, File, RootDirectory, Symlink, ViewOptions
from tests.images import TestImage, docker_archive, layer_tar
from tests.indexing import indexing
from tests.view.conftest import View, find


def content(root: Directory, path: str) -> bytes:
    node = find(root, path)
    assert isinstance(node, File)
    with node.open() as blob:
        data = blob.pread(blob.size, 0)
    assert node.find_size() == len(data)
    return data


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


def test_children_are_links_to_the_images_based_on_one(
    view: View, archive: Path, images: list[TestImage]
) -> None:
    root = view(archive)
    base, child, grandchild = images
    for image, expected in ((base, [child]), (child, [grandchild]), (grandchild, [])):
        folder = find(root, f"images/{image.id.hex}/children")
        assert isinstance(folder, Directory)
        links = dict(folder.entries())
        assert list(links) == [other.id.hex.encode() for other in expected]
        for name, link in links.items():
            assert isinstance(link, Symlink)
            assert link.target == b"../../" + name
        assert folder.lookup(b"0" * 64) is None


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


def all_images(root: RootDirectory) -> Directory:
    node = find(root, "images")
    assert isinstance(node, Directory)
    return node


def test_an_image_that_its_source_has_lost_is_read_from_another(
    tmp_path: Path, images: list[TestImage]
) -> None:
    one, other = (docker_archive(tmp_path / name, images[:1]) for name in ("one.tar", "other.tar"))
    with indexing(tmp_path) as indexer:
        first, second = open_source(str(one), indexer), open_source(str(other), indexer)
        union = Union([first, second])
        root = RootDirectory(union, ViewOptions())
        path = f"images/{images[0].id.hex}/rootfs"
        table = find(root, path).table
        assert table is not None
        table.load()
        assert find(root, f"{path}/etc/passwd").table is table
        first.store.close()  # as if it had lost all of its images
        assert [name for name, _ in all_images(root).entries()] == [images[0].id.hex.encode()]
        union.snapshot = Union([second]).snapshot
        root.close()  # unloads it; what the kernel knows of it stays
        table.load()
        assert content(root, f"{path}/etc/passwd").startswith(b"root")
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
