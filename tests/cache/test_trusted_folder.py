"""Directories that others control, and ones that they do not."""

import os
import stat
from pathlib import Path

import pytest

from imgfs.cache.trusted_folder import open_trusted_folder
from imgfs.errors import StoreError

OTHER = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    open_trusted_folder(str(tmp_path / "above/folder"), "1").close()
    return tmp_path / "above/folder"


def _refused(folder: Path) -> str:
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises((StoreError, NotADirectoryError)) as caught:
        open_trusted_folder(str(folder), "1")
    assert sorted(folder.parent.rglob("*")) == before
    return str(caught.value)


def test_both_are_made_for_this_user_alone(folder: Path) -> None:
    for path in (folder, folder / "1"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    with open_trusted_folder(str(folder), "1") as opened:
        assert os.path.samestat(os.fstat(opened.fileno()), (folder / "1").stat())


@pytest.mark.parametrize("inner", ["", "1"])
def test_a_directory_of_another_user_is_refused(folder: Path, inner: str) -> None:
    os.chown(folder / inner, OTHER, OTHER)
    assert f"{folder / inner}".rstrip("/") + " belongs to another user" in _refused(folder)


@pytest.mark.parametrize("inner", ["", "1"])
@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_directory_that_others_may_write_to_is_refused(folder: Path, inner: str, mode: int) -> None:
    (folder / inner).chmod(mode)
    assert "may be written to by other users (chmod go-w)" in _refused(folder)


def test_it_may_lie_where_everybody_has_directories(folder: Path) -> None:
    folder.parent.chmod(0o1777)
    open_trusted_folder(str(folder), "1").close()
    folder.chmod(0o1777)
    open_trusted_folder(str(folder), "1").close()


def test_a_link_of_this_user_is_followed_and_none_of_another(folder: Path) -> None:
    moved = folder.parent / "moved"
    folder.rename(moved)
    folder.symlink_to("moved")
    open_trusted_folder(str(folder), "1").close()
    os.chown(folder, OTHER, OTHER, follow_symlinks=False)
    assert "is a link of another user" in _refused(folder)


def test_a_link_in_place_of_the_inner_directory_is_refused(folder: Path) -> None:
    (folder / "1").rename(folder / "target")
    (folder / "1").symlink_to("target")
    assert "Not a directory" in _refused(folder)


def test_nothing_is_made_in_a_directory_of_another_user(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    os.chown(tmp_path / "cache", OTHER, OTHER)
    assert "belongs to another user" in _refused(tmp_path / "cache/imgfs")
