import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob import MAX_SIZE, Concatenation, MemoryBlob, SparseBlob
from imgfs.errors import Corrupt, StoreError
from tests.blob.blobs import Shy

parts_of = st.lists(st.tuples(st.binary(max_size=12), st.booleans(), st.booleans()), max_size=8)
ranges = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 110)), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(parts_of, ranges)
def test_any_range_is_that_of_the_bytes_end_to_end(
    parts: list[tuple[bytes, bool, bool]], reads: list[tuple[int, int]]
) -> None:
    """Whichever sizes are known, and in whatever order ranges are read."""
    whole = b"".join(data for data, _, _ in parts)
    blob = Concatenation([Shy(data, known=known, ready=ready) for data, known, ready in parts])
    for size, offset in reads:
        expected = whole[offset : offset + size]
        assert blob.try_pread(size, offset) in (expected, None)
        assert blob.pread(size, offset) == expected
        assert blob.known_size in (len(whole), None)
    assert blob.size == blob.known_size == len(whole)
    for size, offset in reads:
        assert blob.pread(size, offset) == whole[offset : offset + size]


@settings(max_examples=200, deadline=None)
@given(parts_of, ranges)
def test_what_can_be_had_in_place_is_had_in_place(
    parts: list[tuple[bytes, bool, bool]], reads: list[tuple[int, int]]
) -> None:
    whole = b"".join(data for data, _, _ in parts)
    blob = Concatenation([MemoryBlob(data) for data, _, _ in parts])
    for size, offset in reads:
        assert blob.try_pread(size, offset) == whole[offset : offset + size]


def test_only_the_parts_that_a_read_touches_are_read() -> None:
    parts = [Shy(b"aaaa"), Shy(b"bbbb"), Shy(b"cccc")]
    assert Concatenation(parts).pread(4, 4) == b"bbbb"
    assert [part.reads for part in parts] == [0, 1, 0]


def test_a_sequential_reader_never_waits_for_the_size_of_what_it_has_not_reached() -> None:
    class Unmeasured(Shy):
        @property
        def size(self) -> int:
            raise AssertionError("not needed yet")

    blob = Concatenation([Shy(b"aaaa", known=False), Shy(b"bbbb", known=False), Unmeasured(b"", known=False)])
    assert (blob.pread(3, 0), blob.pread(3, 3), blob.known_size) == (b"aaa", b"abb", None)
    assert Concatenation([Shy(b"aaaa"), Unmeasured(b"", known=False)]).pread(4, 0) == b"aaaa"


def test_a_part_that_fails_does_not_hurt_the_others() -> None:
    class Damaged(Shy):
        def pread(self, size: int, offset: int) -> bytes:
            raise Corrupt("damaged")

    blob = Concatenation([Shy(b"aaaa"), Damaged(b"bbbb"), Shy(b"cccc")])
    with pytest.raises(Corrupt):
        blob.pread(5, 0)
    assert (blob.pread(4, 0), blob.pread(9, 8)) == (b"aaaa", b"cccc")


def test_nothing_end_to_end_is_nothing() -> None:
    for blob in (Concatenation([]), Concatenation([MemoryBlob(b"")] * 3)):
        assert (blob.size, blob.known_size, blob.pread(5, 0), blob.try_pread(5, 0)) == (0, 0, b"", b"")


def test_closing_closes_every_part() -> None:
    parts = [Shy(b"a"), Shy(b"b")]
    with Concatenation(parts):
        pass
    assert [part.closed for part in parts] == [1, 1]


def test_many_threads_find_sizes_at_once() -> None:
    class Hesitating(Shy):
        @property
        def known_size(self) -> int | None:
            time.sleep(0)  # another thread's turn
            return super().known_size

    blobs = [Concatenation([Hesitating(b"%d" % number) for number in range(10)]) for _ in range(50)]
    with ThreadPoolExecutor(8) as pool:
        reads = pool.map(lambda _: [blob.pread(9, 5) for blob in blobs], range(8))
        assert all(read == [b"56789"] * 50 for read in reads)
    assert {blob.size for blob in blobs} == {10}


def test_more_bytes_than_a_file_can_have_are_no_size_and_can_be_read() -> None:
    blob = Concatenation([SparseBlob(MemoryBlob(b""), [], MAX_SIZE), MemoryBlob(b"a")])
    assert blob.known_size is None
    with pytest.raises(StoreError, match="9223372036854775808 bytes"):
        _ = blob.size
    assert blob.pread(2, MAX_SIZE - 1) == b"\0a"
