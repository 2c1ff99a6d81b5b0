import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfs.blob import Blob, MemoryBlob, Slice, blob_chunks
from imgfs.errors import Corrupt
from tests.blob.blobs import Shy

small = st.integers(0, 60)


@given(st.binary(max_size=50), small, small, small, small)
def test_a_range_of_a_slice_is_that_of_its_bytes(
    data: bytes, start: int, length: int, size: int, offset: int
) -> None:
    start %= len(data) + 1
    length %= len(data) - start + 1
    expected = data[start : start + length][offset : offset + size]
    part = Slice(MemoryBlob(data), start, length)
    assert part.size == part.known_size == length
    assert part.pread(size, offset) == part.try_pread(size, offset) == expected


@given(st.binary(max_size=50), st.lists(st.tuples(small, small), min_size=2, max_size=4), small, small)
def test_a_slice_of_a_slice_is_a_slice(
    data: bytes, cuts: list[tuple[int, int]], size: int, offset: int
) -> None:
    blob: Blob = MemoryBlob(data)
    expected = data
    for first, count in cuts:
        start = first % (len(expected) + 1)
        length = count % (len(expected) - start + 1)
        blob, expected = Slice(blob, start, length), expected[start : start + length]
    assert blob.pread(size, offset) == expected[offset : offset + size]


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, 5), (4, 1), (5, 0), (1, -1), (1 << 70, 1)])
def test_a_range_that_lies_outside_is_corrupt(start: int, length: int) -> None:
    with pytest.raises(Corrupt, match="lies outside its 4 bytes"):
        Slice(MemoryBlob(b"abcd"), start, length)


def test_what_cannot_be_had_in_place_is_not() -> None:
    assert Slice(Shy(b"abcd", ready=False), 1, 2).try_pread(2, 0) is None


def test_closing_closes_the_blob() -> None:
    blob = Shy(b"abcd")
    Slice(blob, 1, 2).close()
    assert blob.closed == 1


def test_a_blob_comes_whole_and_in_order() -> None:
    assert list(blob_chunks(MemoryBlob(b"abcdefg"), 3)) == [b"abc", b"def", b"g"]
    assert list(blob_chunks(MemoryBlob(b""))) == []
