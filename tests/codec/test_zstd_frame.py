"""Frames found without decoding, and those that are refused."""

import struct

import pytest
import zstandard

from imgfs.blob import MemoryBlob
from imgfs.codec import CODECS, Compression
from imgfs.codec.cursor import Cursor
from imgfs.codec.zstd_frame import Frame, frame_parts, next_frame
from imgfs.errors import Corrupt
from tests.codec.encoders import skippable_frame, texture

MAGIC = b"\x28\xb5\x2f\xfd"


def frames_of(stored: bytes) -> list[tuple[Frame, int]]:
    """Every frame and where it ends."""
    cursor = Cursor(MemoryBlob(stored))
    found = []
    while (frame := next_frame(cursor)) is not None:
        for _ in frame_parts(cursor, frame):
            pass
        found.append((frame, cursor.offset))
    return found


def test_frames_are_found_between_skippable_ones() -> None:
    frames = [zstandard.compress(texture("noise", size, 1)) for size in (0, 300, 400_000)]
    stored = skippable_frame(5) + frames[0] + frames[1] + skippable_frame(200_000, 9) + frames[2]
    assert [stored[frame.start : end] for frame, end in frames_of(stored)] == frames


@pytest.mark.parametrize("size", [0, 255, 256, 65791, 65792, 1 << 20])
def test_the_library_reads_headers_the_same_way(size: int) -> None:
    for level in (1, 19):
        encoder = zstandard.ZstdCompressor(level, write_checksum=bool(level % 2), write_content_size=True)
        stored = encoder.compress(texture("words", size, 1))
        ((frame, _),) = frames_of(stored)
        expected = zstandard.get_frame_parameters(stored)
        assert (frame.content_size, frame.window) == (expected.content_size, expected.window_size)
        assert frame.has_checksum == expected.has_checksum


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (b"garbage", "no zstd frame at offset 0"),
        (MAGIC, "cut off"),
        (MAGIC + b"\x00", "cut off"),
        (MAGIC + b"\x00\x00\x01", "cut off"),
        (MAGIC + b"\x04\x00\x01\x00\x00", "cut off in its checksum"),
        (MAGIC + b"\x00\x98", "window"),
        (MAGIC + b"\xa0" + struct.pack("<I", 1 << 31), "window"),
        (MAGIC + b"\x01\x00\x07", "dictionary"),
        (MAGIC + b"\x00\x00\x07\x00\x00", "bad block"),
        (MAGIC + b"\x00\x00\x05\x00\x00", "bad block"),  # compressed to nothing
        (MAGIC + b"\x00\x00" + struct.pack("<I", ((128 << 10) + 1) << 3 | 1)[:3], "bad block"),
        (struct.pack("<II", 0x184D2A50, 9) + b"short", "cut off"),
        (zstandard.compress(b"fine") + b"\x00", "no zstd frame at offset 13"),
    ],
)
def test_what_is_no_good_frame_is_corrupt(stored: bytes, reason: str) -> None:
    with pytest.raises(Corrupt, match=reason):
        list(CODECS[Compression.ZSTD].pass_over(MemoryBlob(stored)))


@pytest.mark.parametrize("descriptor", [0x00, 0x07, 0x3D, 0x51, 0x88])
def test_window_sizes_are_what_the_library_takes_them_for(descriptor: int) -> None:
    ((frame, _),) = frames_of(stored := MAGIC + bytes([0, descriptor]) + b"\x01\x00\x00")
    assert frame.window == zstandard.get_frame_parameters(stored).window_size


def test_a_dictionary_of_number_zero_is_none() -> None:
    assert list(CODECS[Compression.ZSTD].pass_over(MemoryBlob(MAGIC + b"\x01\x00\x00\x01\x00\x00"))) == []
