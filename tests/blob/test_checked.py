"""A blob whose bytes are checked before they are given out."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfs.blob import CheckedBlob, MemoryBlob, checksums
from imgfs.errors import Corrupt

BLOCK = 100
DATA = random.Random(1).randbytes(10 * BLOCK + 37)


def checked(data: bytes = DATA) -> CheckedBlob:
    """A blob of `data` with the checksums of DATA."""
    return CheckedBlob(MemoryBlob(data), BLOCK, checksums([DATA], BLOCK), "layer")


@given(st.integers(0, 1200), st.integers(0, 1200))
def test_good_bytes_are_read_as_they_are(size: int, offset: int) -> None:
    assert checked().pread(size, offset) == DATA[offset : offset + size]
    assert checked().try_pread(size, offset) == DATA[offset : offset + size]


@given(st.integers(0, 8 * len(DATA) - 1), st.integers(1, 1200), st.integers(0, len(DATA) - 1))
def test_a_flipped_bit_is_corrupt_to_whoever_reads_its_block(position: int, size: int, offset: int) -> None:
    hurt = bytearray(DATA)
    hurt[position // 8] ^= 1 << position % 8
    block = position // 8 // BLOCK
    last = min(offset + size, len(DATA)) - 1
    for read in (checked(bytes(hurt)).pread, checked(bytes(hurt)).try_pread):
        if offset // BLOCK <= block <= last // BLOCK:
            with pytest.raises(Corrupt, match=f"layer: bytes at offset {block * BLOCK} "):
                read(size, offset)
        else:
            assert read(size, offset) == DATA[offset : offset + size]


@given(st.lists(st.integers(0, 300), max_size=12))
def test_checksums_do_not_depend_on_how_the_bytes_come(sizes: list[int]) -> None:
    chunks, start = [], 0
    for size in sizes:
        chunks.append(memoryview(DATA)[start : start + size])
        start += size
    chunks.append(memoryview(DATA)[start:])
    assert checksums(chunks, BLOCK) == checksums([DATA], BLOCK)
    assert len(checksums([DATA], BLOCK)) == 11 * 4


@pytest.mark.parametrize("size", [0, 900, 1000, 1101])
def test_another_size_is_corrupt(size: int) -> None:
    with pytest.raises(Corrupt, match="layer"):
        checked(DATA[:size] + bytes(max(0, size - len(DATA))))


def test_a_longer_last_block_is_corrupt_to_whoever_reads_it() -> None:
    blob = checked(DATA + b"more")
    assert blob.pread(1000, 0) == DATA[:1000]
    with pytest.raises(Corrupt, match="have changed"):
        blob.pread(1, 1000)


def test_an_empty_blob_has_no_checksums() -> None:
    assert checksums([]) == b""
    assert CheckedBlob(MemoryBlob(b""), BLOCK, b"", "layer").pread(5, 0) == b""
