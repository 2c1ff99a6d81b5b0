"""Telling compressions apart by first bytes."""

import gzip
import io
import tarfile

import pytest
import zstandard

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression, detect
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
        (gzip.compress(b"hello" * 300), Compression.GZIP),
        (zstandard.compress(b"hello" * 300), Compression.ZSTD),
        (skippable_frame(8) + zstandard.compress(b"hello"), Compression.ZSTD),
        (skippable_frame(8, 15) + zstandard.compress(b"hello"), Compression.ZSTD),
    ],
)
def test_first_bytes_tell(data: bytes, compression: Compression) -> None:
    assert detect(MemoryBlob(data)) is compression


@pytest.mark.parametrize("magic", [b"\x1f\x8b\x08\x08", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"])
def test_a_tar_whose_first_name_looks_compressed_is_plain(magic: bytes) -> None:
    assert detect(MemoryBlob(tar_named(magic + b"name"))) is Compression.PLAIN
