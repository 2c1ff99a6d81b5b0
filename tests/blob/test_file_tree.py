"""Files opened below a directory, by both ways of doing it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imgfs.blob.file_tree import FileTree, has_openat2, open_in_root, open_step_by_step
from imgfs.errors import StoreError


@pytest.fixture(params=[open_in_root, open_step_by_step])
def open_file(request: pytest.FixtureRequest) -> Callable[[int, bytes], int]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(b"secret")
    directory = tmp_path / "directory"
    (directory / "a/b").mkdir(parents=True)
    (directory / "a/b/file").write_bytes(b"file")
    (directory / "up").symlink_to("..")
    (directory / "absolute").symlink_to(tmp_path)
    (directory / "secret-link").symlink_to(tmp_path / "secret")
    (directory / "loop").symlink_to("loop")
    return directory


def _open(open_file: Callable[[int, bytes], int], directory: Path, name: bytes) -> bytes:
    at = os.open(directory, os.O_PATH)
    try:
        fd = open_file(at, name)
        with open(fd, "rb") as file:
            return file.read()
    finally:
        os.close(at)


@pytest.mark.parametrize("name", [b"a/b/file", b"./a/b/file", b"/a/b/file", b"a//b/file", b"a/../a/b/file"])
def test_a_file_is_found_however_its_name_is_written(
    open_file: Callable[[int, bytes], int], directory: Path, name: bytes
) -> None:
    assert _open(open_file, directory, name) == b"file"


@pytest.mark.parametrize(
    "name",
    [
        b"../secret",
        b"/../secret",
        b"a/../../secret",
        b"up/secret",
        b"absolute/secret",
        b"secret-link",
        b"loop",
    ],
)
def test_no_name_leads_out(open_file: Callable[[int, bytes], int], directory: Path, name: bytes) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"No such file|symbolic links|Not a directory"):
        _open(open_file, directory, name)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "name", [b"loop/file", b"", b"gone", b"a/b/file/more", b"a\0b", b"n" * 300, b"deep/" * 2000]
)
def test_nothing_else_is(open_file: Callable[[int, bytes], int], directory: Path, name: bytes) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Errno"):
        _open(open_file, directory, name)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_link_inside_leads_where_it_would_in_a_container(directory: Path) -> None:
    """The way with openat2 alone: a layer may hold files below a link of its own."""
    if not has_openat2():
        pytest.skip("this kernel has no openat2")
    (directory / "inner").symlink_to("/a/b")
    assert _open(open_in_root, directory, b"inner/file") == b"file"


def test_what_is_no_regular_file_is_refused_without_waiting(directory: Path) -> None:
    os.mkfifo(directory / "fifo")
    tree = FileTree(str(directory))
    for name in (b"fifo", b"a", b"/"):
        with pytest.raises(StoreError, match="not a regular file"):
            tree.open(name)
    tree.close()


def test_the_directory_is_held_while_another_takes_its_place(directory: Path) -> None:
    tree = FileTree(str(directory))
    directory.rename(directory.parent / "moved")
    (directory / "a/b").mkdir(parents=True)
    (directory / "a/b/file").write_bytes(b"another")
    fd, size = tree.open(b"a/b/file")
    assert (os.pread(fd, 100, 0), size) == (b"file", 4)
    os.close(fd)
    tree.close()
    tree.close()


def test_a_link_to_a_directory_is_no_tree(directory: Path) -> None:
    with pytest.raises(OSError, match="Not a directory"):
        FileTree(str(directory / "up"))
