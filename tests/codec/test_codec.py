"""One pass: the decoded bytes and the seek table."""

import threading

import pytest
import zstandard

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression
from imgfs.codec.codec import gather
from tests.codec.encoders import gzip_member, skippable_frame, texture

DATA = b"".join(texture(kind, 8_000_000, 6) for kind in ("words", "noise", "words"))
NOISE = texture("noise", 20_000_000, 8)


def test_zstd_can_be_entered_at_frames_that_are_not_tiny() -> None:
    small = [zstandard.compress(NOISE[start : start + 1000]) for start in range(0, 500_000, 1000)]
    large = zstandard.compress(NOISE[:3_000_000])
    stored = skippable_frame(10) + b"".join(small) + large + large
    with Compression.ZSTD.codec.decode_pass(MemoryBlob(stored)) as running:
        assert b"".join(running) == NOISE[:500_000] + NOISE[:3_000_000] * 2
        table = running.table
    assert len(table) == 1 + 3 + 1, "the first large frame begins too near the last point"
    assert table.point_before(3_500_000).bit == 8 * (len(stored) - len(large))


def test_one_huge_zstd_frame_needs_a_copy() -> None:
    with Compression.ZSTD.codec.decode_pass(MemoryBlob(zstandard.compress(NOISE))) as running:
        assert sum(map(len, running)) == len(NOISE)
        assert running.table.needs_copy


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_closing_stops_it_wherever_it_is(compression: Compression) -> None:
    stored = gzip_member(DATA, 1) if compression is Compression.GZIP else zstandard.compress(DATA)
    before = threading.active_count()
    for taken in (0, 1, 5):
        running = compression.codec.decode_pass(MemoryBlob(stored))
        for _, _ in zip(range(taken), running, strict=False):
            pass
        running.close()
        assert list(running) == []
        with pytest.raises(ValueError, match="not over"):
            _ = running.table
    assert threading.active_count() == before


def test_small_chunks_are_joined_until_they_are_worth_it() -> None:
    assert list(gather(iter([b"ab", b"c", b"defgh", b"i"]), 3)) == [b"abc", b"defgh", b"i"]


def test_nothing_gathers_to_nothing() -> None:
    assert list(gather(iter([b"", b""]), 3)) == []
