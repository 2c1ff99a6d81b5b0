"""Files of a tar, by name, and nothing outside it."""

import io
import tarfile
from pathlib import Path

import pytest

from imgfs.blob import ANYONE, FileBlob, MemoryBlob, SharedBlob
from imgfs.errors import Corrupt, StoreError, TooMuch
from imgfs.sources.archive import ArchiveFiles, open_archive_files
from imgfs.tar import scan_blob
from tests.indexing import indexing


def _archive(*members: tuple[str, bytes, str | bytes]) -> ArchiveFiles:
    """Members given by name, type, and content or link target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, value in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if isinstance(value, str):
                info.linkname = value
            else:
                info.size = len(value)
            archive.addfile(info, io.BytesIO(value) if isinstance(value, bytes) else None)
    blob = MemoryBlob(buffer.getvalue())
    return ArchiveFiles(SharedBlob(blob), scan_blob(blob), "test.tar", ANYONE)


def _read(files: ArchiveFiles, name: str) -> bytes:
    with files.open(name) as blob:
        return blob.pread(1 << 20, 0)


def test_an_archives_files_are_found_however_their_names_are_written() -> None:
    files = _archive(("./a/b", tarfile.REGTYPE, b"one"), ("/c", tarfile.REGTYPE, b"two"))
    assert _read(files, "a/b") == _read(files, "/a//b") == _read(files, "x/../a/b") == b"one"
    assert _read(files, "c") == b"two"
    with pytest.raises(FileNotFoundError, match=r"test\.tar"):
        files.open("a/c")


def test_a_later_member_replaces_an_earlier_one() -> None:
    assert _read(_archive(("a", tarfile.REGTYPE, b"old"), ("a", tarfile.REGTYPE, b"new")), "a") == b"new"


def test_links_inside_an_archive_are_followed() -> None:
    files = _archive(
        ("layers/1/layer.tar", tarfile.REGTYPE, b"data"),
        ("layers/2/layer.tar", tarfile.SYMTYPE, "../1/layer.tar"),
        ("hard", tarfile.LNKTYPE, "layers/2/layer.tar"),
    )
    assert _read(files, "layers/2/layer.tar") == _read(files, "hard") == b"data"


def test_links_that_lead_round_or_to_no_file_are_errors() -> None:
    files = _archive(
        ("a", tarfile.SYMTYPE, "b"),
        ("b", tarfile.SYMTYPE, "a"),
        ("d", tarfile.DIRTYPE, b""),
        ("l", tarfile.SYMTYPE, "d"),
    )
    with pytest.raises(StoreError, match="too many links"):
        files.open("a")
    with pytest.raises(StoreError, match="not a regular file"):
        files.open("l")


def test_links_of_an_archive_do_not_lead_outside() -> None:
    files = _archive(("a", tarfile.SYMTYPE, "/etc/passwd"), ("b", tarfile.SYMTYPE, "../../../../etc/passwd"))
    for name in ("a", "b"):
        with pytest.raises(FileNotFoundError):
            files.open(name)


def test_blobs_stay_readable_after_their_archive_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"data"))
    with indexing(tmp_path) as indexer:
        files = open_archive_files(FileBlob(path), indexer)
    blob = files.open("a")
    files.close()
    path.unlink()
    assert blob.pread(10, 0) == b"data"
    blob.close()


def test_an_archive_that_is_cut_off_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("a")
        info.size = 4000
        archive.addfile(info, io.BytesIO(bytes(4000)))
    path.write_bytes(path.read_bytes()[:1000])
    with indexing(tmp_path) as indexer, pytest.raises(Corrupt, match="cut off"):
        open_archive_files(FileBlob(path), indexer)


def test_members_that_take_too_much_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.sources.archive._MEMORY", 100_000)
    _archive(*((f"{number}", tarfile.REGTYPE, b"") for number in range(150))).close()
    with pytest.raises(TooMuch, match=r"^test\.tar: members take more than 100000 bytes$"):
        _archive(*((f"{number}", tarfile.REGTYPE, b"") for number in range(250)))
    with pytest.raises(TooMuch, match=r"^test\.tar: names of members take more than 100000 bytes$"):
        _archive(*((f"{number}" + "/n" * 2000, tarfile.REGTYPE, b"") for number in range(22)))


def test_a_name_that_no_file_system_takes_is_not_listed() -> None:
    files = _archive(("n" * 1_000_000, tarfile.REGTYPE, b""), ("good", tarfile.REGTYPE, b"x"))
    assert _read(files, "good") == b"x"
    assert not files.exists("n" * 1_000_000)
