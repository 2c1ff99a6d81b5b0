"""Seek points and spans as bytes."""

import hashlib
import random
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob import MemoryBlob
from imgfs.codec import SeekTable, SpanTable
from imgfs.codec.seek_table import SeekTableBuilder
from imgfs.codec.span_hasher import Spans
from imgfs.codec.span_map import _HEADER, _packed_numbers, pack_map, parse_map
from imgfs.codec.zstd_module import pack
from imgfs.errors import Corrupt
from tests.codec.encoders import texture

STORED_SIZE, SIZE = 1000, 10_000
OFFSETS = [0, 500, 1000, 5000, 9000]
DIGESTS = b"".join(
    hashlib.sha256(bytes([number])).digest() for number in OFFSETS for number in [number % 256]
)


def example() -> SeekTable:
    builder = SeekTableBuilder()
    builder.add(1000, 803, texture("words", 32768, 1))
    builder.add(5000, 1600, b"")
    builder.add(9000, 2401, bytes(32768))
    return builder.build(STORED_SIZE, SIZE)


SPANS = Spans(array("Q", OFFSETS), DIGESTS)


def parsed(packed: bytes, windows: bytes | None = None) -> tuple[SeekTable, SpanTable | None]:
    blob = example().windows if windows is None else MemoryBlob(windows)
    table, spans = parse_map(packed, blob, STORED_SIZE, SIZE, is_plain=False)
    assert table is not None
    return table, spans


@pytest.mark.parametrize("spans", [None, SPANS])
def test_what_was_packed_is_parsed(spans: Spans | None) -> None:
    table, span_table = parsed(pack_map(example(), spans))
    assert [*table.points()] == [*example().points()]
    for offset in (0, 999, 1000, 4999, 5000, 9000, 20_000):
        assert table.point_before(offset) == example().point_before(offset)
    if spans is None:
        assert span_table is None
        return
    assert span_table is not None
    assert [span_table.start(number) for number in range(5)] == OFFSETS
    assert [span_table.digest(number) for number in range(5)] == [
        f"sha256:{DIGESTS[32 * number : 32 * number + 32].hex()}" for number in range(5)
    ]
    assert [span_table.run(number) for number in (0, 1, 2)] == [range(2), range(2), range(2, 3)]
    assert [span_table.stored_range(number) for number in (0, 1, 2, 3, 4)] == [
        (0, 101),
        (0, 101),
        (100, 200),
        (200, 301),
        (300, 1000),
    ]


def test_a_plain_blob_has_spans_only() -> None:
    packed = pack_map(None, Spans(array("Q", [0, 600]), DIGESTS[:64]))
    table, spans = parse_map(packed, MemoryBlob(b""), SIZE, SIZE, is_plain=True)
    assert table is None
    assert spans is not None
    assert [spans.stored_range(number) for number in (0, 1)] == [(0, 600), (600, SIZE)]
    assert parse_map(pack_map(None, None), MemoryBlob(b""), SIZE, SIZE, is_plain=True) == (None, None)
    with pytest.raises(Corrupt):
        parse_map(pack_map(example(), SPANS), MemoryBlob(b""), STORED_SIZE, SIZE, is_plain=True)


def test_nothing_has_no_spans() -> None:
    table, spans = parse_map(
        pack_map(SeekTableBuilder().build(20, 0), Spans()), MemoryBlob(b""), 20, 0, is_plain=False
    )
    assert table is not None
    assert spans is not None
    assert (len(table), len(spans)) == (1, 0)


@given(st.data())
@settings(max_examples=150)
def test_what_is_damaged_is_corrupt_or_still_right(data: st.DataObject) -> None:
    """But for digests, which no span has then."""
    packed = bytearray(pack_map(example(), SPANS))
    if data.draw(st.booleans()):
        del packed[data.draw(st.integers(0, len(packed) - 1)) :]
    else:
        position = data.draw(st.integers(0, 8 * len(packed) - 1))
        packed[position // 8] ^= 1 << position % 8
    try:
        table, _ = parsed(bytes(packed))
    except Corrupt:
        return
    assert [*table.points()] == [*example().points()]


def forged(kinds: bytes, numbers: list[int], count: int | None = None, digests: bytes | None = None) -> bytes:
    columns = pack(kinds + _packed_numbers(numbers))
    digests = bytes(32 * len(kinds)) if digests is None else digests
    return _HEADER.pack(len(kinds) if count is None else count, len(columns), 32) + columns + digests


def test_what_is_forged_well_is_parsed() -> None:
    parsed(forged(b"\2\1\0", [0, 5, 5, 0, 8, 4]), b"wwww")


@pytest.mark.parametrize(
    "packed",
    [
        forged(b"\0\1\0", [0, 5, 5, 8, 4]),
        forged(b"\2\3\0", [0, 5, 5, 0, 8, 4]),
        forged(b"\2\1\0", [0, 5, 0, 0, 8, 4]),
        forged(b"\2\1\0", [1, 5, 5, 0, 8, 4]),
        forged(b"\2\1\0", [0, 5, 5, 0, 0, 4]),
        forged(b"\2\1\0", [0, 5, 5, 1, 8, 4]),
        forged(b"\2\1\0", [0, 5, 5, 0, 8000, 4]),
        forged(b"\2\1\0", [0, 5, 5, 0, 8, 5]),
        forged(b"\2\1\0", [0, 5, 5, 0, 8]),
        forged(b"\2\1\0", [0, 5, 5, 0, 8, 4, 1]),
        forged(b"\2\1\0", [0, 5, 9995, 0, 8, 4]),
        forged(b"\2\1\0", [0, 5, 1 << 62, 0, 8, 4]),
        forged(b"\2\1\0", [0, 5, 1 << 90, 0, 8, 4]),
        forged(b"\2\1\0", [0, 5, 5, 0, 8, 4], digests=bytes(64)),
        forged(b"", [], 0xFFFFFFFF),
        b"",
    ],
)
def test_what_cannot_be_is_corrupt(packed: bytes) -> None:
    with pytest.raises(Corrupt):
        parsed(packed, b"wwww")


def test_places_take_few_bytes() -> None:
    dice, builder = random.Random(1), SeekTableBuilder()
    offsets = [0, *(number * 1_050_000 + dice.randrange(50_000) for number in range(1, 1600))]
    for number, offset in enumerate(offsets):
        builder.add(offset, number * 2_800_000 + dice.randrange(100_000), b"window")
    table = builder.build(600_000_000, 1_700_000_000)
    packed = pack_map(table, Spans(array("Q", offsets), bytes(32 * len(offsets))))
    assert len(packed) < 1600 * (32 + 9)


def test_a_small_map_does_not_take_gigabytes() -> None:
    count = 1 << 22
    columns = pack(b"\2" * count + 2 * (b"\0" + b"\1" * (count - 1)))
    packed = _HEADER.pack(count, len(columns), 0) + columns
    assert len(packed) < 2000
    with pytest.raises(Corrupt, match="impossible header"):
        parse_map(packed, MemoryBlob(b""), 1 << 40, 1 << 40, is_plain=False)
