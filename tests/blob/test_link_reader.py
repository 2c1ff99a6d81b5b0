"""Links that are read without changing their access times, and that are read at all where that cannot be avoided."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from imgfs.blob import Root
from imgfs.blob.link_reader import LinkReader
from tests.tools import require_root


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """A link whose access time any read would change."""
    (tmp_path / "a/b").mkdir(parents=True)
    path = tmp_path / "a/b/link"
    path.symlink_to("target")
    os.utime(path, ns=(1, 2), follow_symlinks=False)
    return path


@contextmanager
def _opened(path: Path) -> Iterator[tuple[LinkReader, int]]:
    with closing(LinkReader(Root(path), "a")) as reader:
        fd = os.open(path / "a/b", os.O_RDONLY)
        try:
            yield reader, fd
        finally:
            os.close(fd)


def test_its_access_time_stays(tmp_path: Path, link: Path) -> None:
    require_root()
    with _opened(tmp_path) as (reader, fd):
        assert reader.read(fd, b"b", b"link") == b"target"
        assert reader.read(fd, b"b", b"link") == b"target"
    assert link.lstat().st_atime_ns == 1
    assert os.readlink(link) == "target"
    assert link.lstat().st_atime_ns > 1, "reading it otherwise changes that"


def test_without_the_right_to_mount_it_is_read_all_the_same(
    tmp_path: Path, link: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgfs.blob.link_reader._syscall", lambda *_: -1)
    with _opened(tmp_path) as (reader, fd):
        assert reader.read(fd, b"b", b"link") == b"target"


def test_one_that_is_not_at_the_path_is_read_where_it_is(tmp_path: Path, link: Path) -> None:
    with _opened(tmp_path) as (reader, fd):
        (tmp_path / "a/b").rename(tmp_path / "elsewhere")
        assert reader.read(fd, b"b", b"link") == b"target"
        with pytest.raises(FileNotFoundError):
            reader.read(fd, b"b", b"none")


def test_nothing_outside_is_read(tmp_path: Path, link: Path) -> None:
    """Not even if a directory is replaced by a link."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "link").symlink_to("secret")
    with _opened(tmp_path) as (reader, fd):
        (tmp_path / "a/b").rename(tmp_path / "a/moved")
        (tmp_path / "a/b").symlink_to(other)
        assert reader.read(fd, b"b", b"link") == b"target"
