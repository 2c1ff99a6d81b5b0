"""The decoded view with a seek table."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard

from imgfs.blob import MemoryBlob
from imgfs.codec import CODECS, Compression, SeekTable, open_random
from imgfs.errors import Corrupt
from tests.codec.encoders import gzip_member, texture
from tests.codec.failing import FailingBlob

DATA = b"".join(texture(kind, 5_000_000, 6) for kind in ("words", "noise", "zeros", "words"))
GZIP = gzip_member(DATA, 1)
ZSTD = b"".join(zstandard.compress(DATA[start : start + 700_000]) for start in range(0, len(DATA), 700_000))
CASES = [(GZIP, Compression.GZIP), (ZSTD, Compression.ZSTD)]


def table_of(stored: bytes, compression: Compression) -> SeekTable:
    with CODECS[compression].pass_over(MemoryBlob(stored)) as running:
        assert b"".join(running) == DATA
        return running.table


@pytest.mark.parametrize(("stored", "compression"), CASES)
def test_a_read_in_the_middle_takes_a_small_part_of_the_stored_bytes(
    stored: bytes, compression: Compression
) -> None:
    table = table_of(stored, compression)
    assert len(table) > 4
    for offset in random.Random(1).sample(range(len(DATA) - 1000), 20):
        counted = FailingBlob(stored, 2 * len(stored))
        assert open_random(counted, table).pread(1000, offset) == DATA[offset : offset + 1000]
        assert counted.reads <= 30


@pytest.mark.parametrize(("stored", "compression"), CASES)
def test_reading_in_order_decodes_everything_once(stored: bytes, compression: Compression) -> None:
    """Also when two readers do so at different places, and threads take turns."""
    table = table_of(stored, compression)
    counted = FailingBlob(stored, 2 * len(stored))
    blob = open_random(counted, table)
    half = len(DATA) // 2
    offsets = [place for start in range(0, half, 100_000) for place in (start, half + start)]
    with ThreadPoolExecutor(4) as pool:
        pieces = list(pool.map(lambda offset: blob.pread(100_000, offset), offsets))
    assert b"".join(pieces[::2]) + b"".join(pieces[1::2]) == DATA
    # a busy machine lets threads fall behind, which costs another start now and then; each read on its own, hundreds
    assert counted.reads <= len(stored) // 131072 * 1.5 + 20


def test_a_blob_that_is_too_short_is_corrupt() -> None:
    table = table_of(GZIP, Compression.GZIP)
    with pytest.raises(Corrupt, match="seek table says"):
        open_random(MemoryBlob(GZIP[:-1]), table)


@pytest.mark.parametrize(("stored", "compression"), CASES)
def test_a_blob_that_is_not_the_tables_is_corrupt(stored: bytes, compression: Compression) -> None:
    table = table_of(stored, compression)
    blob = open_random(MemoryBlob(random.Random(2).randbytes(len(stored))), table)
    for offset in (0, 9_000_000, len(DATA) - 5):
        with pytest.raises(Corrupt):
            blob.pread(1000, offset)


def test_fewer_bytes_than_the_table_says_is_corrupt() -> None:
    other = gzip_member(DATA[:1000])
    table = table_of(GZIP, Compression.GZIP)
    blob = open_random(MemoryBlob(other + bytes(len(GZIP))), table)
    assert blob.pread(10, 0) == DATA[:10]
    with pytest.raises(Corrupt, match="ends at 1000 of"):
        blob.pread(10, 995)


def test_reading_works_again_once_the_blob_does() -> None:
    stored = FailingBlob(GZIP, 0)
    blob = open_random(stored, table_of(GZIP, Compression.GZIP))
    with pytest.raises(OSError, match="fire"):
        blob.pread(10, 10_000_000)
    stored.failing = False
    assert blob.pread(10, 10_000_000) == DATA[10_000_000:10_000_010]


def test_reads_past_the_end_are_empty() -> None:
    blob = open_random(MemoryBlob(GZIP), table_of(GZIP, Compression.GZIP))
    assert blob.pread(10, len(DATA)) == blob.pread(0, 5) == b""
    assert blob.size == len(DATA)
