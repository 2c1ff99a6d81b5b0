"""Gzip decoded by zlib, which shows where blocks begin."""

import random
import zlib
from collections.abc import Callable
from functools import partial

import pytest

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression, open_random
from imgfs.codec.gzip_blocks import gunzip_blocks
from imgfs.codec.parallel_gzip import TooDense, Unreliable
from imgfs.codec.seek_table import SeekTableBuilder
from imgfs.errors import Corrupt
from tests.codec.encoders import gzip_member, texture

DATA = b"".join(texture(kind, 5_000_000, 4) for kind in ("words", "noise", "zeros", "words"))


@pytest.mark.parametrize(
    "encode",
    [
        partial(gzip_member, DATA),
        partial(gzip_member, DATA, 0),
        partial(gzip_member, DATA, 1, zlib.Z_FIXED),
        partial(gzip_member, DATA, 1, flush_every=30_000),
        lambda: b"".join(gzip_member(DATA[at : at + 70_000], 1) for at in range(0, len(DATA), 70_000)),
        lambda: gzip_member(DATA[:9_000_000], 9, flags=30) + gzip_member(b"") + gzip_member(DATA[9_000_000:]),
    ],
    ids=["default", "stored", "fixed", "flushed", "small members", "members"],
)
def test_it_finds_points_to_enter_at(encode: Callable[[], bytes]) -> None:
    stored = encode()
    for garbage in (b"", b"\0" * 700, b"garbage"):
        _check_points(stored, garbage)


def _check_points(stored: bytes, garbage: bytes) -> None:
    builder, spare = SeekTableBuilder(), list[object]()
    decoded = 0
    for chunk in gunzip_blocks(MemoryBlob(stored + garbage), builder, spare):
        assert chunk == DATA[decoded : decoded + len(chunk)]
        decoded += len(chunk)
        assert isinstance(chunk.obj, bytearray)
        spare.append(chunk.obj)
    assert decoded == len(DATA)
    table = builder.build(len(stored), len(DATA))
    assert table.largest_interval < 9 << 20  # of zeros, a block is large
    blob = open_random(MemoryBlob(stored), Compression.GZIP, table)
    for offset in random.Random(1).sample(range(len(DATA) - 3000), 30):
        assert blob.pread(3000, offset) == DATA[offset : offset + 3000]


def test_nothing_but_empty_members_is_nothing() -> None:
    blob = MemoryBlob(gzip_member(b"") * 3)
    assert b"".join(gunzip_blocks(blob, SeekTableBuilder(), [])) == b""


def test_what_zlib_rejects_is_unreliable_or_corrupt() -> None:
    stored = gzip_member(DATA[:100_000])
    for wrong in (stored[:-9], stored[:20], stored[:5000] + b"\xff" * 99 + stored[5099:]):
        with pytest.raises((Unreliable, Corrupt)):
            list(gunzip_blocks(MemoryBlob(wrong), SeekTableBuilder(), []))


def test_a_wrong_trailer_is_corrupt() -> None:
    stored = gzip_member(b"one") + gzip_member(b"two")[:-1] + b"x"
    with pytest.raises(Corrupt, match=f"gzip member at offset {len(gzip_member(b'one'))}: 3 bytes"):
        list(gunzip_blocks(MemoryBlob(stored), SeekTableBuilder(), []))


def test_it_stops_at_a_limit() -> None:
    blob, builder, taken = MemoryBlob(gzip_member(DATA)), SeekTableBuilder(), 0
    with pytest.raises(TooDense):
        for chunk in gunzip_blocks(blob, builder, [], 7_000_000):
            taken += len(chunk)
    assert 7_000_000 < taken < 9_000_000
