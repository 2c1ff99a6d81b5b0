"""Zstandard decoded in order, and what is rejected."""

import struct

import pytest
import zstandard

from imgfs.blob import MemoryBlob
from imgfs.codec.codec import CHUNK_SIZE
from imgfs.codec.cursor import Cursor
from imgfs.codec.seek_table import START, SeekPoint
from imgfs.codec.zstd import Zstd
from imgfs.errors import Corrupt
from tests.codec.encoders import skippable_frame, texture

MAGIC = b"\x28\xb5\x2f\xfd"
_BLOCK = 128 << 10  # the largest, in bytes


def test_chunks_stay_small_however_much_a_byte_decodes_to() -> None:
    """A block of four bytes may decode to 128 KiB."""
    block = struct.pack("<I", _BLOCK << 3 | 1 << 1)[:3] + b"z"
    stored = MAGIC + b"\x00\x58" + block * 300 + struct.pack("<I", 1)[:3]
    sizes = [len(chunk) for chunk in Zstd().decode_from(MemoryBlob(stored), START)]
    assert sum(sizes) == 300 * _BLOCK
    assert max(sizes) <= CHUNK_SIZE


def test_frames_are_found_between_skippable_ones() -> None:
    plain = [texture("noise", size, 1) for size in (0, 300, 400_000)]
    frames = [zstandard.compress(data) for data in plain]
    stored = skippable_frame(5) + frames[0] + frames[1] + skippable_frame(200_000, 9) + frames[2]
    found = [(start, b"".join(chunks)) for start, chunks in Zstd().frames(Cursor(MemoryBlob(stored)))]
    assert found == list(zip(map(stored.index, frames), plain, strict=True))


def test_decoding_can_start_at_any_frame() -> None:
    first, second = zstandard.compress(b"one"), zstandard.compress(b"two")
    assert (
        b"".join(Zstd().decode_from(MemoryBlob(first + second), SeekPoint(3, 8 * len(first), b""))) == b"two"
    )


def test_a_wrong_checksum_is_corrupt() -> None:
    stored = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(texture("noise", 3000, 1)))
    stored[-1] ^= 1
    with pytest.raises(Corrupt, match="zstd frame at offset 0"):
        list(Zstd().decode_from(MemoryBlob(bytes(stored)), START))


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (b"garbage", "no zstd frame at offset 0"),
        (MAGIC, "cut off"),
        (MAGIC + b"\x00", "cut off"),
        (MAGIC + b"\x00\x00\x01", "cut off"),
        (MAGIC + b"\x04\x00\x01\x00\x00", "cut off"),
        (MAGIC + b"\x00\x98", "too much memory"),
        (MAGIC + b"\xa0" + struct.pack("<I", 1 << 31), "too much memory"),
        (MAGIC + b"\x01\x00\x07", "Dictionary"),
        (MAGIC + b"\x00\x00\x07\x00\x00", "corruption"),
        (MAGIC + b"\x00\x00" + struct.pack("<I", ((128 << 10) + 1) << 3 | 1)[:3], "corruption"),
        (struct.pack("<II", 0x184D2A50, 9) + b"short", "cut off"),
        (zstandard.compress(b"fine") + b"\x00", "no zstd frame at offset 13"),
    ],
)
def test_what_is_not_a_sound_frame_is_corrupt(stored: bytes, reason: str) -> None:
    with pytest.raises(Corrupt, match=reason):
        list(Zstd().decode_pass(MemoryBlob(stored)))


def test_a_dictionary_of_number_zero_is_none() -> None:
    assert list(Zstd().decode_pass(MemoryBlob(MAGIC + b"\x01\x00\x00\x01\x00\x00"))) == []
