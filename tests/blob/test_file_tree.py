"""Files of a layer, opened below its directory."""

import os
from pathlib import Path

import pytest

from imgfs.blob import Root
from imgfs.blob.file_tree import FileTree
from imgfs.errors import StoreError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "directory"
    (directory / "a/b").mkdir(parents=True)
    (directory / "a/b/file").write_bytes(b"file")
    (directory / "up").symlink_to("..")
    (directory / "inner").symlink_to("/a/b")
    (directory / "outer").symlink_to(tmp_path)
    (tmp_path / "secret").write_bytes(b"secret")
    return directory


def _read(tree: FileTree, name: bytes, *, may_block: bool = True) -> bytes:
    with tree.open(name, may_block=may_block) as file:
        return file.pread(file.size, 0)


def test_names_lead_where_they_would_in_a_container(directory: Path) -> None:
    with_links = FileTree(Root(directory))
    for name in (b"a/b/file", b"/a/b/file", b"inner/file", b"up/a/b/file", b"../a/b/file"):
        assert _read(with_links, name) == b"file"
        assert _read(with_links, name, may_block=False) == b"file"
    for name in (b"up/secret", b"outer/secret", b"../secret", b"inner"):
        with pytest.raises((OSError, StoreError)):
            _read(with_links, name)


def test_what_is_no_regular_file_is_refused_without_waiting(directory: Path) -> None:
    os.mkfifo(directory / "fifo")
    tree = FileTree(Root(directory))
    for name in (b"fifo", b"a", b"/"):
        with pytest.raises(StoreError, match="not a regular file"):
            tree.open(name)
    tree.close()


def test_the_directory_is_held_while_another_takes_its_place(directory: Path) -> None:
    tree = FileTree(Root(directory.parent), "directory")
    directory.rename(directory.parent / "moved")
    (directory / "a/b").mkdir(parents=True)
    (directory / "a/b/file").write_bytes(b"another")
    assert _read(tree, b"a/b/file") == b"file"
    tree.close()
    tree.close()


def test_a_link_to_a_directory_is_no_tree(directory: Path) -> None:
    for name in ("up", "outer"):
        with pytest.raises(StoreError, match="symbolic link"):
            FileTree(Root(directory), name)
    with pytest.raises(NotADirectoryError):
        FileTree(Root(directory), "a/b/file")
