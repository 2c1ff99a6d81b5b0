"""Maps of sparse files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfs.tar import sparse_map


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=20), st.integers(0, 100))
def test_parts_in_order_are_a_map_without_its_empty_ones(gaps: list[tuple[int, int]], after: int) -> None:
    numbers, position = [], 0
    for gap, length in gaps:
        numbers += [position + gap, length]
        position += gap + length
    stored = sum(length for _, length in gaps)
    parts = sparse_map.checked(numbers, position + after, stored)
    assert [length for _, length in parts] == [length for _, length in gaps if length]
    with pytest.raises(ValueError, match="does not fit"):
        sparse_map.checked(numbers, position + after, stored + 1)


@pytest.mark.parametrize(
    "numbers",
    [[0, 5, 4, 1], [5, -1], [-5, 5], [0], [0, 5, 3], [0, 20], [0] * (2 * sparse_map.MAX_ENTRIES + 2)],
    ids=["overlap", "negative length", "negative offset", "half", "odd", "too long", "too many"],
)
def test_nonsense_is_a_value_error(numbers: list[int]) -> None:
    with pytest.raises(ValueError, match="sparse map"):
        sparse_map.checked(numbers, 10, sum(numbers[1::2]))


def leading_map(*pieces: bytes) -> sparse_map.LeadingMap:
    found = sparse_map.LeadingMap()
    for piece in pieces:
        found.take(piece)
    return found


def test_a_leading_map_says_when_it_is_not_all_there() -> None:
    whole = b"2\n0\n5\n10\n7\n"
    assert leading_map(whole).complete
    assert leading_map(whole + b"data\n").numbers == [0, 5, 10, 7]
    for cut in range(len(whole)):
        assert not leading_map(whole[:cut]).complete
        assert leading_map(whole[:cut], whole[cut:]).numbers == [0, 5, 10, 7]


@pytest.mark.parametrize(
    "data", [b"x\n", b"-1\n", b"\n", b"1" * 30 + b"\n", b"1\n5\nx\n", b"999999999\n", b"1" * ((1 << 20) + 1)]
)
def test_a_leading_map_of_nonsense_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="sparse map"):
        leading_map(data)


def test_numbers_of_a_map_may_have_leading_zeros() -> None:
    zeros = b"0" * 600
    assert leading_map(zeros + b"1\n", zeros + b"5\n" + zeros, b"7\n").numbers == [5, 7]
    found = sparse_map.in_records({b"GNU.sparse.map": zeros + b"5,07", b"GNU.sparse.numblocks": b"01"})
    assert found is not None
    assert found.numbers == [5, 7]


@pytest.mark.parametrize(
    ("version", "is_sparse"),
    [((b"0", b"0"), True), ((b"0", b"1"), True), ((b"1", b"0"), True), ((b"", b""), False)]
    + [(version, False) for version in [(b"2", b"0"), (b"1", b"1"), (b"1", b""), (b"", b"0")]],
)
def test_records_of_other_formats_are_no_sparse_file(version: tuple[bytes, bytes], is_sparse: bool) -> None:
    records = {
        b"GNU.sparse.major": version[0],
        b"GNU.sparse.minor": version[1],
        b"GNU.sparse.numblocks": b"0",
    }
    assert (sparse_map.in_records(records) is not None) == is_sparse


@pytest.mark.parametrize(
    "records",
    [
        {b"GNU.sparse.map": b"0,5"},
        {b"GNU.sparse.map": b"0,5", b"GNU.sparse.numblocks": b"2"},
        {b"GNU.sparse.map": b"0,x", b"GNU.sparse.numblocks": b"1"},
        {b"GNU.sparse.map": b"0,5", b"GNU.sparse.numblocks": b"1", b"GNU.sparse.size": b"x"},
        {b"GNU.sparse.map": b"0,5,", b"GNU.sparse.numblocks": b"1"},
    ],
)
def test_records_of_nonsense_are_a_value_error(records: dict[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match=r"sparse map|not a number"):
        sparse_map.in_records(records)
