"""Layers that are kept as directories: what is read of their files."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.blob import Root
from imgfs.digest import ChainID, DiffID
from imgfs.errors import FileChanged, StoreError
from imgfs.layers import DirectoryLayer, DirectoryPlace
from imgfs.tree import Tree

ID = DiffID.of(b"")


def made(folder: Path, *, is_live: bool = False) -> DirectoryLayer:
    place = DirectoryPlace(Root(folder), "l", is_live=is_live)
    return DirectoryLayer(ChainID(ID), ID, None, lambda: place)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "l/d").mkdir(parents=True)
    (tmp_path / "l/a").write_bytes(b"first")
    (tmp_path / "l/d/b").write_bytes(os.urandom(300_000))
    return tmp_path


def read(layer: DirectoryLayer, tree: Tree, path: bytes) -> bytes:
    with closing(layer.open_content(tree.copies[0])) as blob:
        return blob.pread(*place(tree, path))


def place(tree: Tree, path: bytes) -> tuple[int, int]:
    """The size of a file, and where its content begins in that of the layer."""
    entry = next(entry for entry in tree.walk() if tree.path(entry) == path)
    return tree.sizes[entry], tree.records[entry] + tree.headers[entry]


def test_files_are_read(folder: Path) -> None:
    layer = made(folder)
    tree = layer.tree()
    assert read(layer, tree, b"a") == b"first"
    assert read(layer, tree, b"d/b") == (folder / "l/d/b").read_bytes()


def test_content_is_found_by_another_object_for_the_layer(folder: Path) -> None:
    tree = made(folder).tree()
    assert read(made(folder), tree, b"a") == b"first"


def test_a_directory_that_has_changed_is_not_read_by_the_places_of_before(folder: Path) -> None:
    tree = made(folder).tree()
    (folder / "l/0").write_bytes(b"before the others")
    with pytest.raises(StoreError, match="not there any more"):
        read(made(folder), tree, b"a")


@pytest.mark.parametrize("change", ["write", "replace", "touch"])
def test_a_file_that_has_changed_is_an_error(folder: Path, change: str) -> None:
    layer = made(folder)
    tree = layer.tree()
    path = folder / "l/a"
    if change == "replace":
        status = path.stat()
        (folder / "l/new").write_bytes(b"other")
        (folder / "l/new").rename(path)
        os.utime(path, ns=(0, status.st_mtime_ns))
    elif change == "write":
        path.write_bytes(b"longer than it was")
    else:
        os.utime(path, ns=(0, 0))
    with pytest.raises(StoreError, match="file 'a' has changed since its directory was read"):
        read(layer, tree, b"a")


@pytest.mark.parametrize("is_live", [False, True])
def test_a_file_that_is_held_is_read_when_it_is_gone(folder: Path, is_live: bool) -> None:
    layer = made(folder, is_live=is_live)
    tree = layer.tree()
    size, start = place(tree, b"a")
    with layer.open_content(tree.copies[0]) as content:
        held = content.hold(start, size)
        assert held is not None
        with held:
            os.unlink(folder / "l/a")
            assert content.pread(size, start) == b"first"
            (folder / "l/a").write_bytes(b"other")
            assert content.pread(size, start) == b"first"
        with pytest.raises(FileChanged if is_live else StoreError):
            content.pread(size, start)
        assert content.hold(start, size) is None


def test_a_held_file_that_is_written_to_has_changed(folder: Path) -> None:
    layer = made(folder)
    tree = layer.tree()
    size, start = place(tree, b"a")
    with layer.open_content(tree.copies[0]) as content:
        held = content.hold(start, size)
        assert held is not None
        with held:
            (folder / "l/a").write_bytes(b"FIRST")
            with pytest.raises(StoreError, match="has changed"):
                content.pread(size, start)


def test_a_live_file_may_grow_and_not_shrink(folder: Path) -> None:
    layer = made(folder, is_live=True)
    tree = layer.tree()
    with (folder / "l/a").open("ab") as file:
        file.write(b", second")
    assert read(layer, tree, b"a") == b"first"
    (folder / "l/a").write_bytes(b"x")
    with pytest.raises(FileChanged, match="file 'a' has changed") as error:
        read(layer, tree, b"a")
    assert error.value.data == b"x"


def test_a_live_file_that_is_gone_or_another_says_what_there_is(folder: Path) -> None:
    layer = made(folder, is_live=True)
    tree = layer.tree()
    (folder / "l/new").write_bytes(b"another one")
    (folder / "l/new").rename(folder / "l/a")
    with pytest.raises(FileChanged) as error:
        read(layer, tree, b"a")
    assert error.value.data == b"anoth"
    for make in (
        Path.unlink,
        lambda path: path.symlink_to("d/b"),
        lambda path: (path.unlink(), path.mkdir()),
    ):
        make(folder / "l/a")
        with pytest.raises(FileChanged) as error:
            read(layer, tree, b"a")
        assert error.value.data == b""


def test_a_file_that_was_replaced_by_a_link_is_not_followed(folder: Path) -> None:
    layer = made(folder)
    tree = layer.tree()
    (folder / "l/a").unlink()
    (folder / "l/a").symlink_to("d/b")
    with pytest.raises(StoreError, match="file 'a' cannot be read"):
        read(layer, tree, b"a")


def test_it_has_no_tar_and_says_why(folder: Path) -> None:
    layer = made(folder)
    assert (layer.has_tar, layer.known_size, layer.look_for_size(), layer.is_verified) == (
        False,
        None,
        None,
        False,
    )
    with pytest.raises(StoreError, match=f"^layer {ID}: there is no tar of it: it is kept as a directory$"):
        layer.open()
