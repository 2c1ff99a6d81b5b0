"""Telling compressions apart by first bytes."""

import bz2
import gzip
import io
import lzma
import tarfile

import pytest
import zstandard

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression, describe_unread, detect
from tests.codec.encoders import skippable_frame


def tar_named(name: bytes) -> bytes:
    """A tar whose first member has this name."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", encoding="latin-1") as tar:
        tar.addfile(tarfile.TarInfo(name.decode("latin-1")))
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "compression"),
    [
        (b"", Compression.PLAIN),
        (b"\x1f", Compression.PLAIN),
        (b"hello", Compression.PLAIN),
        (bytes(10240), Compression.PLAIN),
        (gzip.compress(b"hello" * 300, mtime=0), Compression.GZIP),
        (zstandard.compress(b"hello" * 300), Compression.ZSTD),
        (lzma.compress(b"hello"), Compression.XZ),
        (bz2.compress(b"hello", 1), Compression.BZIP2),
        (bz2.compress(b""), Compression.BZIP2),
        (b"BZh9 is how a text may begin", Compression.PLAIN),
        (skippable_frame(8) + zstandard.compress(b"hello"), Compression.ZSTD),
        (skippable_frame(8, 15) + zstandard.compress(b"hello"), Compression.ZSTD),
    ],
)
def test_first_bytes_tell(data: bytes, compression: Compression) -> None:
    assert detect(MemoryBlob(data)) is compression


@pytest.mark.parametrize(
    "magic", [b"\x1f\x8b\x08\x08", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"BZh91AY&SY", b"LZIP"]
)
def test_a_tar_whose_first_name_looks_compressed_is_plain(magic: bytes) -> None:
    assert detect(MemoryBlob(tar_named(magic + b"name"))) is Compression.PLAIN


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"LZIP\x01\x0c", "lzip"),
        (b"\x04\x22\x4d\x18\x64", "lz4"),
        (lzma.compress(b"hello", lzma.FORMAT_ALONE), "lzma"),
        (b"\x1f\x9d\x90", "compress"),
    ],
)
def test_what_is_compressed_in_a_way_that_is_not_read_is_named(start: bytes, name: str) -> None:
    assert describe_unread(MemoryBlob(start)) == f"{name}-compressed; imgfs reads gzip, zstd, xz, bzip2"


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"PK\x03\x04", "a zip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"hsqs", "a SquashFS image"),
        (b"\x7fELF\x02", "an ELF program"),
        (b"\r\n <!DOCTYPE HTML><html>", "HTML, such as the error page of a server"),
        (b'\xef\xbb\xbf{"schemaVersion": 2}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer (git lfs pull gets the file)"),
    ],
)
def test_what_is_in_another_form_is_named(start: bytes, name: str) -> None:
    described = describe_unread(MemoryBlob(start))
    assert described == f"{name}; imgfs reads tars, plain or as gzip, zstd, xz, bzip2"


def test_what_is_empty_is_said_to_be_so() -> None:
    assert describe_unread(MemoryBlob(b"")) == "an empty file"


def test_what_is_nothing_known_is_described_without_its_bytes() -> None:
    described = describe_unread(MemoryBlob(b"\0\x1b[2Jhello" * 99))
    assert described == "neither a tar nor compressed as gzip, zstd, xz, bzip2"
