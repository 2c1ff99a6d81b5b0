"""Zstandard decoded in order."""

import struct

import pytest
import zstandard

from imgfs.blob import MemoryBlob
from imgfs.codec.seek_table import START, SeekPoint
from imgfs.codec.zstd import Zstd
from imgfs.codec.zstd_frame import LARGEST_BLOCK
from imgfs.errors import Corrupt
from tests.codec.encoders import texture


def test_chunks_stay_small_however_much_a_byte_decodes_to() -> None:
    """A block of four bytes may decode to 128 KiB."""
    block = struct.pack("<I", LARGEST_BLOCK << 3 | 1 << 1)[:3] + b"z"
    stored = b"\x28\xb5\x2f\xfd\x00\x58" + block * 300 + struct.pack("<I", 1)[:3]
    sizes = [len(chunk) for chunk in Zstd().enter(MemoryBlob(stored), START)]
    assert sum(sizes) == 300 * LARGEST_BLOCK
    assert max(sizes) == LARGEST_BLOCK


def test_decoding_can_start_at_any_frame() -> None:
    first, second = zstandard.compress(b"one"), zstandard.compress(b"two")
    assert b"".join(Zstd().enter(MemoryBlob(first + second), SeekPoint(3, 8 * len(first), b""))) == b"two"


def test_a_wrong_checksum_is_corrupt() -> None:
    stored = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(texture("noise", 3000, 1)))
    stored[-1] ^= 1
    with pytest.raises(Corrupt, match="zstd frame at offset 0"):
        list(Zstd().enter(MemoryBlob(bytes(stored)), START))
