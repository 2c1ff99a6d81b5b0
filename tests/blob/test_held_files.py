"""Files of a layer that are held open."""

import os
import resource
import shutil
from pathlib import Path

import pytest

from imgfs.blob import Root
from imgfs.blob.file_tree import FileTree
from imgfs.blob.held_files import HeldFiles


@pytest.fixture
def files(tmp_path: Path) -> HeldFiles:
    (tmp_path / "files").mkdir()
    for name in ("a", "b"):
        (tmp_path / "files" / name).write_text(name)
    return HeldFiles(FileTree(Root(tmp_path), "files"))


def _read(files: HeldFiles, name: bytes) -> bytes:
    with files.open(name) as file:
        return file.pread(9, 0)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_that_is_held_is_read_after_it_was_removed(files: HeldFiles, tmp_path: Path) -> None:
    before = _descriptors()
    held, again = files.hold(b"a"), files.hold(b"a", may_block=False)
    assert held is not None
    assert again is not None
    assert _descriptors() == before + 1
    shutil.rmtree(tmp_path / "files")
    held.close()
    assert _read(files, b"a") == b"a"
    with pytest.raises(FileNotFoundError):
        _read(files, b"b")
    again.close()
    assert _descriptors() == before
    with pytest.raises(FileNotFoundError):
        _read(files, b"a")


def test_a_file_is_let_go_of_without_blocking_while_it_has_a_name(files: HeldFiles, tmp_path: Path) -> None:
    before = _descriptors()
    held = files.hold(b"a")
    assert held is not None
    assert held.try_close()
    assert _descriptors() == before
    held = files.hold(b"a")
    (tmp_path / "files/a").unlink()
    assert held is not None
    assert not held.try_close(), "its blocks are freed"
    held.close()
    assert _descriptors() == before


def test_no_file_is_held_where_few_descriptors_are_left(
    files: HeldFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _descriptors()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (before + 200, before + 200))
    assert files.hold(b"a") is None
    assert _descriptors() == before
    assert _read(files, b"a") == b"a"
