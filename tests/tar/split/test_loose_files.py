"""The files that a tar-split names, read and checked."""

import random
from contextlib import suppress
from pathlib import Path

import pytest

from imgfs.errors import Corrupt, StoreError
from imgfs.tar.split import loose_files
from tests.splitting import file_line, literal, tar_split
from tests.tar.split.splits import tar_of


@pytest.mark.parametrize("name", ["f", "f/", "./f", "/f", "x/../f", ".//f", "../../f", "x/../../f/."])
def test_names_are_those_of_the_files_that_engines_made_of_them(tmp_path: Path, name: str) -> None:
    (tmp_path / "f").write_bytes(b"content")
    with tar_of(tar_split([file_line(name, b"content")]), tmp_path) as blob:
        assert blob.pread(10, 0) == b"content"


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "/../../secret",
        "link/secret",
        "file-link",
        "a/../../secret",
        "absolute/secret",
        "gone",
        "",
        "/",
    ],
)
def test_no_name_leads_out_of_the_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    files = tmp_path / "files"
    (files / "a").mkdir(parents=True)
    (files / "link").symlink_to("..")
    (files / "absolute").symlink_to(tmp_path)
    (files / "file-link").symlink_to(tmp_path / "secret")
    with (
        tar_of(tar_split([file_line(name, b"secret")]), files) as blob,
        pytest.raises(StoreError, match="layer: file"),
    ):
        blob.pread(6, 0)


@pytest.mark.parametrize("size", [1_000, 300_000, 3_000_000])
def test_a_file_that_changes_while_it_is_read_is_never_wrong_bytes(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(content)
    with tar_of(tar_split([literal(b"h" * 512), file_line("file", content)]), tmp_path) as blob:
        assert blob.pread(100, 512 + size // 2) == content[size // 2 :][:100]
        changed = bytearray(content)
        changed[size // 2] ^= 1
        (tmp_path / "file").write_bytes(changed)
        for wanted, offset in ((100, size // 2 - 50), (size, 0), (size - 1, 1)):
            with pytest.raises(Corrupt, match="layer: file 'file' has changed"):
                blob.pread(wanted, 512 + offset)
        (tmp_path / "file").write_bytes(content)
        assert blob.pread(size, 512) == content


@pytest.mark.parametrize("size", [1_000, 100_000, 3_000_000])
def test_a_small_read_of_what_is_in_memory_does_not_wait(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(content)
    with tar_of(tar_split([literal(b"h" * 512), file_line("file", content)]), tmp_path) as blob:
        assert blob.try_pread(100, 0) is None  # the recipe is not parsed yet
        assert blob.pread(1_000, 0) == (b"h" * 512 + content)[:1_000]
        assert blob.try_pread(300_000, 0) is None
        assert blob.try_pread(100, 0) == b"h" * 100
        (tmp_path / "file").read_bytes()
        assert blob.try_pread(700, 400) in ((b"h" * 112 + content)[:700], None)  # older kernels cannot tell
        assert blob.try_pread(10, 512 + size) == b""
        (tmp_path / "file").write_bytes(bytes(size))
        with suppress(Corrupt):
            assert blob.try_pread(700, 400) is None
        (tmp_path / "file").unlink()
        with suppress(StoreError):
            assert blob.try_pread(700, 400) is None


def test_a_file_too_large_to_be_read_at_once_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loose_files, "_AT_ONCE", 300_000)
    content = random.Random(3).randbytes(1_000_000)
    (tmp_path / "file").write_bytes(content)
    with tar_of(tar_split([literal(b"h" * 512), file_line("file", content)]), tmp_path) as blob:
        assert blob.pread(2_000_000, 0) == b"h" * 512 + content
