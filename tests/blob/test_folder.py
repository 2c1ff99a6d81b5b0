"""Writing to a directory by plain names."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgfs.blob import Folder
from imgfs.blob.folder import make_directories
from imgfs.errors import StoreError


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    (tmp_path / "folder").mkdir()
    with Folder(
        os.open(tmp_path / "folder", os.O_RDONLY | os.O_DIRECTORY), str(tmp_path / "folder")
    ) as opened:
        yield opened


@pytest.mark.parametrize("name", ["a/b", "/etc", "..", "."])
def test_only_plain_names_are_taken(folder: Folder, name: str) -> None:
    for use in (folder.open, folder.stat, folder.create, folder.unlink, folder.remove, folder.folder):
        with pytest.raises(StoreError, match="not a plain name"):
            use(name)


def test_errors_name_the_whole_path(folder: Folder) -> None:
    for use in (folder.open, folder.stat, folder.unlink, folder.folder):
        with pytest.raises(FileNotFoundError) as caught:
            use("none")
        assert caught.value.filename == folder.path_of("none")


def test_a_file_is_written_whole_and_replaces_an_earlier_one(folder: Folder) -> None:
    with folder.folder("staging", make=True) as staging:
        for data in (b"first", b"second"):
            folder.write("file", data, staging)
            with folder.open("file") as file:
                assert file.pread(10, 0) == data
        assert staging.scan() == []


def test_a_write_that_fails_leaves_nothing(folder: Folder) -> None:
    with folder.folder("staging", make=True) as staging:
        with pytest.raises(StoreError, match="not a plain name"):
            folder.write("a/b", b"data", staging)
        assert staging.scan() == []


def test_links_are_not_followed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    os.symlink("../secret", folder.path_of("link"))
    os.symlink("..", folder.path_of("up"))
    for use in (folder.open, folder.create, folder.open_lock, folder.folder):
        with pytest.raises(OSError, match=r"link|up"):
            use("up" if use == folder.folder else "link")
    folder.remove("link")
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_a_new_file_must_be_new(folder: Folder) -> None:
    os.close(folder.create("file"))
    with pytest.raises(FileExistsError):
        folder.create("file")


def test_a_lock_is_a_file_that_is_made_if_it_is_missing(folder: Folder) -> None:
    for _ in range(2):
        with folder.open_lock("lock") as lock:
            fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.mkfifo(folder.path_of("pipe"))
    with pytest.raises(StoreError, match="not a regular file"):
        folder.open_lock("pipe")


def test_a_rename_replaces_even_a_directory(folder: Folder) -> None:
    with folder.folder("staging", make=True) as staging, folder.folder("target", make=True) as target:
        os.close(target.create("inside"))
        os.close(staging.create("new"))
        staging.rename("new", folder, "target")
    with folder.open("target") as file:
        assert file.size == 0


def test_anything_can_be_removed_also_what_is_not_there(folder: Folder) -> None:
    with folder.folder("directory", make=True) as inner:
        os.close(inner.create("file"))
    os.symlink("none", folder.path_of("link"))
    for name in ("directory", "link", "none"):
        folder.remove(name)
    assert folder.scan() == []


def test_the_directory_is_the_same_after_another_took_its_place(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "folder").rename(tmp_path / "moved")
    (tmp_path / "folder").mkdir()
    os.close(folder.create("file"))
    assert [(tmp_path / name / "file").exists() for name in ("moved", "folder")] == [True, False]


def test_directories_are_made_with_those_above_them(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for _ in range(2):
        make_directories(str(tmp_path / "link/a/b"))
    assert (tmp_path / "real/a/b").is_dir()
