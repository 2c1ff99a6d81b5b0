"""Ranges of a blob at offsets of their own, by random reads against bytes in memory."""

import random

import pytest

from imgfs.blob import MemoryBlob
from imgfs.blob.ranges import Ranges, RangesBlob
from imgfs.errors import Corrupt


def test_reads_are_those_of_the_ranges() -> None:
    dice = random.Random(1)
    data = dice.randbytes(5000)
    ranges, expected = Ranges(), b""
    for _ in range(60):
        place, length = dice.randrange(4000), dice.choice([0, 1, 7, 900])
        ranges.add(place, length)
        expected += data[place : place + length]
        if not dice.randrange(3):
            ranges.skip()
            expected += b"\0"
    blob = RangesBlob(MemoryBlob(data), ranges)
    assert blob.size == len(expected)
    for _ in range(2000):
        offset, size = dice.randrange(len(expected) + 5), dice.choice([0, 1, 3, 500, 100_000])
        assert blob.pread(size, offset) == blob.try_pread(size, offset) == expected[offset : offset + size]


def test_a_range_outside_the_blob_is_an_error() -> None:
    ranges = Ranges()
    ranges.add(5, 10)
    with pytest.raises(Corrupt, match=r"range 7\+8 lies outside its 9 bytes"):
        RangesBlob(MemoryBlob(b"123456789"), ranges).pread(100, 2)


def test_there_is_room_for_no_more_than_a_file_can_have() -> None:
    ranges = Ranges()
    ranges.add(0, 1 << 62)
    with pytest.raises(Corrupt, match="more than"):
        ranges.add(0, 1 << 62)
