"""Files of an archive written as a tar and into a directory."""

import io
import tarfile
from pathlib import Path

import pytest

from imgfs.errors import Corrupt
from imgfs.saving import Entry, write_directory, write_tar
from imgfs.saving.entry import data_entry, json_entry, loadable_name


def test_a_tar_has_the_files_in_order_and_nothing_of_who_wrote_it_when() -> None:
    file = io.BytesIO()
    advanced: list[int] = []
    write_tar([data_entry("a/b", b"12345"), json_entry("c", {"z": 1, "a": [2]})], file, advanced.append)
    assert advanced == [5, 15]
    assert len(file.getvalue()) == 10240
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

    size, chunk = 9 << 30, bytes(64 << 20)
    file = Counting()
    entry = Entry("large", size, lambda: iter([chunk] * (size // len(chunk))))
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
        write_tar([Entry("a", 4, lambda: iter([b"123"]))], io.BytesIO(), lambda _: None)


def test_names_are_given_to_engines_as_they_take_them() -> None:
    for name, taken in {
        "app:1": "app:1",
        "v1": "v1:latest",
        "Not A Name": None,
        "app@sha256:00": None,
    }.items():
        assert loadable_name(name) == taken
