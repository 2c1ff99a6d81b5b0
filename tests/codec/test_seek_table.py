"""Seek tables."""

from array import array

import pytest

from imgfs.blob import MemoryBlob
from imgfs.codec import SeekTable
from imgfs.codec.seek_table import LARGEST_INTERVAL, SeekTableBuilder
from imgfs.codec.span_map import pack_map, parse_map
from imgfs.errors import Corrupt
from tests.codec.encoders import texture

WINDOW = texture("words", 32768, 1)


def example() -> SeekTable:
    builder = SeekTableBuilder()
    builder.add(1000, 803, WINDOW)
    builder.add(5000, 1600, b"")
    builder.add(9000, 2401, bytes(32768))
    return builder.build(1000, 10_000)


def test_a_point_has_what_was_added() -> None:
    table = example()
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


def test_the_points_that_are_wanted_are_kept_with_their_windows() -> None:
    builder = SeekTableBuilder()
    for offset in (1000, 2000, 3000):
        builder.add(offset, offset, texture("words", offset, offset))
    table = builder.build(1000, 10_000, [1000, 3000, 4000])
    assert [(offset, bit) for offset, bit, _ in table.points()] == [(0, 0), (1000, 1000), (3000, 3000)]
    assert table.point_before(1000).window == texture("words", 1000, 1000)
    assert table.point_before(3000).window == texture("words", 3000, 3000)


def test_windows_are_read_when_they_are_needed() -> None:
    """Eight tables of eight large layers stay small."""
    windows = bytearray(example().windows.pread(1 << 20, 0))
    windows[-1] ^= 1
    table, _ = parse_map(pack_map(example(), None), MemoryBlob(bytes(windows)), 1000, 10_000, is_plain=False)
    assert table is not None
    with pytest.raises(Corrupt, match="window"):
        table.point_before(9000)


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
def test_points_that_cannot_be_are_corrupt(
    offsets: tuple[int, int], bits: tuple[int, int], ends: tuple[int, int]
) -> None:
    points, places, windows = (array("Q", column) for column in (offsets, bits, ends))
    with pytest.raises(Corrupt):
        SeekTable(100, 10, points, places, windows, MemoryBlob(b"wwww"))
