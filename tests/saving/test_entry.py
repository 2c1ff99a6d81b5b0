"""Files of an archive written as a tar and into a directory."""

import io
import tarfile
from pathlib import Path

import pytest

from imgfs.blob import Blob, MemoryBlob
from imgfs.errors import Corrupt
from imgfs.saving import Entry, write_directory, write_tar
from imgfs.saving.entry import data_entry, json_entry, loadable_name, tar_blob
from imgfs.tar.member import DIRECTORY


def test_a_tar_has_the_files_in_order_and_nothing_of_who_wrote_it_when() -> None:
    file = io.BytesIO()
    advanced: list[int] = []
    write_tar([data_entry("a/b", b"12345"), json_entry("c", {"z": 1, "a": [2]})], file, advanced.append)
    assert advanced == [5, 15]
    assert len(file.getvalue()) == 4 * 512 + 2 * 512
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        assert [(m.name, m.size, m.mtime, m.uid, m.mode) for m in tar] == [
            ("a/b", 5, 0, 0, 0o644),
            ("c", 15, 0, 0, 0o644),
        ]
        content = tar.extractfile("c")
        assert content is not None
        assert content.read() == b'{"z":1,"a":[2]}'


def test_a_file_larger_than_ustar_allows_is_written() -> None:
    class Counting(io.RawIOBase):
        size, start = 0, b""

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.start = (self.start + data)[:2048]
            self.size += len(data)
            return len(data)

    class Zeros(Blob):
        size = 9 << 30
        block = bytes(1 << 20)

        def pread(self, size: int, offset: int) -> bytes:
            return self.block if offset < self.size else b""

    size = Zeros.size
    file = Counting()
    entry = Entry("large", size, Zeros)
    write_tar([entry], file, lambda _: None)  # type: ignore[arg-type]
    assert file.size > size
    with tarfile.open(fileobj=io.BytesIO(file.start)) as tar:
        assert tar.next().size == size  # type: ignore[union-attr]


def test_a_directory_has_the_files(tmp_path: Path) -> None:
    write_directory(
        [data_entry("a/b", b"12345"), data_entry("c", b"")], str(tmp_path / "out"), lambda _: None
    )
    assert (tmp_path / "out/a/b").read_bytes() == b"12345"
    assert (tmp_path / "out/c").read_bytes() == b""
    with pytest.raises(FileExistsError):
        write_directory([], str(tmp_path / "out"), lambda _: None)


def test_a_file_of_another_size_than_it_said_is_an_error() -> None:
    with pytest.raises(Corrupt, match="a: 3 bytes where 4"):
        write_tar([Entry("a", 4, lambda: MemoryBlob(b"123"))], io.BytesIO(), lambda _: None)


def test_a_tar_is_read_at_any_offset_and_opens_a_file_when_it_gets_there() -> None:
    opened: list[str] = []

    def entry(name: str, data: bytes) -> Entry:
        def open_blob() -> Blob:
            opened.append(name)
            return MemoryBlob(data)

        return Entry(name, len(data), open_blob)

    entries = [
        Entry("d", 0, lambda: MemoryBlob(b""), 0o755, DIRECTORY),
        entry("d/a", b"a" * 1000),
        entry("d/empty", b""),
        entry("d/z", b"z" * 512),
    ]
    file = io.BytesIO()
    write_tar(entries, file, lambda _: None)
    opened.clear()
    with tar_blob(entries) as blob:
        assert blob.size == blob.known_size == len(file.getvalue())
        assert not opened
        assert blob.pread(1200, 512) == file.getvalue()[512:1712]
        assert opened == ["d/a"]
        assert blob.pread(1 << 20, 0) == file.getvalue()
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        assert [member.name for member in tar] == ["d", "d/a", "d/empty", "d/z"]


def test_a_file_in_a_tar_that_has_another_size_than_it_said_is_an_error() -> None:
    with tar_blob([Entry("a", 4, lambda: MemoryBlob(b"123"))]) as blob, pytest.raises(Corrupt, match="a: 3"):
        blob.pread(2000, 0)


def test_names_are_given_to_engines_as_they_take_them() -> None:
    for name, taken in {
        "app:1": "app:1",
        "v1": "v1:latest",
        "Not A Name": None,
        "app@sha256:00": None,
    }.items():
        assert loadable_name(name) == taken
