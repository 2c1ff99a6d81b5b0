"""Files of the cache that are being written. That other processes leave them alone is tested in test_cache."""

import os
from pathlib import Path

import pytest

from imgfs.blob import Folder
from imgfs.cache.partial_file import PREFIX, Partial, left_behind


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY), str(tmp_path))


def test_it_has_its_name_only_once_it_is_placed(folder: Folder, tmp_path: Path) -> None:
    partial = Partial(folder)
    os.write(partial.fd, b"data")
    (name,) = (entry.name for entry in folder.scan())
    assert name.startswith(PREFIX)
    partial.place("file")
    assert [entry.name for entry in folder.scan()] == ["file"]
    os.write(partial.fd, b" and more")
    partial.close()
    assert (tmp_path / "file").read_bytes() == b"data and more"


def test_it_is_removed_if_it_was_not_placed(folder: Folder) -> None:
    partial = Partial(folder)
    partial.close()
    partial.close()
    assert folder.scan() == []


def test_it_is_left_behind_once_its_writer_is_gone(folder: Folder) -> None:
    partial = Partial(folder)
    (name,) = (entry.name for entry in folder.scan())
    assert not left_behind(folder, name)
    os.close(partial.fd)
    partial.fd = -1
    assert left_behind(folder, name)


def test_it_can_be_closed_after_another_process_removed_it(folder: Folder) -> None:
    partial = Partial(folder)
    for entry in folder.scan():
        folder.unlink(entry.name)
    partial.close()
