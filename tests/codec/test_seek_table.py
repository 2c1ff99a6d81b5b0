"""Seek tables in memory and as bytes."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob import MemoryBlob
from imgfs.codec import SeekTable
from imgfs.codec.seek_table import LARGEST_INTERVAL, SeekTableBuilder
from imgfs.errors import Corrupt
from tests.codec.encoders import texture

WINDOW = texture("words", 32768, 1)


def example() -> SeekTable:
    builder = SeekTableBuilder()
    builder.add(1000, 803, WINDOW)
    builder.add(5000, 1600, b"")
    builder.add(9000, 2401, bytes(32768))
    return builder.build(1000, 10_000)


def test_a_table_is_the_same_after_it_was_dumped_and_loaded() -> None:
    table = SeekTable.load(MemoryBlob(example().dump()))
    assert (table.stored_size, table.size) == (1000, 10_000)
    assert len(table) == 4
    points = [table.point_before(offset) for offset in (0, 999, 1000, 4999, 5000, 9000, 20_000)]
    assert [point.offset for point in points] == [0, 0, 1000, 1000, 5000, 9000, 9000]
    assert [point.bit for point in points] == [0, 0, 803, 803, 1600, 2401, 2401]
    assert points[2].window == WINDOW
    assert points[4].window == b""
    assert points[5].window == bytes(32768), "zeros are a window, too"


def test_points_that_are_too_near_or_at_the_end_are_left_out() -> None:
    builder = SeekTableBuilder(100)
    for offset in (0, 99, 100, 150, 200, 500):
        builder.add(offset, 8 * offset, b"")
    table = builder.build(900, 500)
    assert [table.offset_before(offset) for offset in (99, 150, 499, 500)] == [0, 100, 200, 200]
    assert table.largest_interval == 300


def test_points_far_apart_need_a_copy() -> None:
    builder = SeekTableBuilder()
    assert not builder.build(10, LARGEST_INTERVAL).needs_copy
    assert builder.build(10, LARGEST_INTERVAL + 1).needs_copy


def test_windows_are_read_when_they_are_needed() -> None:
    """Eight tables of eight large layers stay small."""
    dumped = bytearray(example().dump())
    dumped[-1] ^= 1
    table = SeekTable.load(MemoryBlob(bytes(dumped)))
    with pytest.raises(Corrupt, match="window"):
        table.point_before(9000)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_table_is_corrupt_or_still_right(data: st.DataObject) -> None:
    dumped = bytearray(example().dump())
    if data.draw(st.booleans()):
        del dumped[data.draw(st.integers(0, len(dumped) - 1)) :]
    else:
        position = data.draw(st.integers(0, 8 * len(dumped) - 1))
        dumped[position // 8] ^= 1 << position % 8
    expected = example()
    try:
        table = SeekTable.load(MemoryBlob(bytes(dumped)))
    except Corrupt:
        return
    for offset in (0, 1000, 5000, 9000):
        try:
            assert table.point_before(offset) == expected.point_before(offset)
        except Corrupt:
            continue


@pytest.mark.parametrize(
    ("offsets", "bits", "ends"),
    [
        ((1, 2), (0, 8), (0, 0)),
        ((0, 2), (1, 8), (0, 0)),
        ((0, 0), (0, 8), (0, 0)),
        ((0, 2), (0, 0), (0, 0)),
        ((0, 11), (0, 8), (0, 0)),
        ((0, 2), (0, 800), (0, 0)),
        ((0, 2), (0, 8), (4, 0)),
        ((0, 2), (0, 8), (0, 5)),
    ],
)
def test_nonsense_with_a_right_checksum_is_corrupt(
    offsets: tuple[int, int], bits: tuple[int, int], ends: tuple[int, int]
) -> None:
    with pytest.raises(Corrupt):
        SeekTable.load(MemoryBlob(forged(2, offsets, bits, ends)))


def test_an_absurd_number_of_points_allocates_nothing() -> None:
    with pytest.raises(Corrupt, match="impossible"):
        SeekTable.load(MemoryBlob(forged(0xFFFFFFFF, (0, 1), (0, 8), (0, 0))))


def forged(count: int, offsets: tuple[int, int], bits: tuple[int, int], ends: tuple[int, int]) -> bytes:
    """A table of 100 stored and 10 decoded bytes with four bytes of windows, its checksum right."""
    arrays = struct.pack("<2Q2Q2I", *offsets, *bits, *ends)
    header = struct.pack("<IQQI", count, 100, 10, 0)
    checksum = zlib.crc32(arrays, zlib.crc32(header))
    return header[:-4] + struct.pack("<I", checksum) + arrays + b"wwww"
