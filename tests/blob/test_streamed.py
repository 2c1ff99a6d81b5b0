"""A blob that several readers go through at once."""

import random
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob.streamed import StreamedBlob
from tests.codec.counted import CountedBlob

MIB = 1 << 20
DATA = random.Random(1).randbytes(70 * MIB)


def test_readers_in_order_fetch_each_byte_once() -> None:
    """Also where one is some megabytes ahead, and starts before the end of what it read last."""
    counted = CountedBlob(DATA)
    blob = StreamedBlob(counted)

    def read(step: int) -> bool:
        places = range(0, len(DATA), step)
        return all(blob.pread(step + 10, place) == DATA[place : place + step + 10] for place in places)

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(read, (100_000, 128 << 10, 3 * MIB)))
    # a reader that falls far behind fetches again
    assert len(DATA) <= counted.total <= 2 * len(DATA)
    counted.reads.clear()
    blob = StreamedBlob(counted)
    for place in range(0, len(DATA), MIB):
        for back in (0, 20 * MIB):
            blob.pread(MIB, max(0, place - back))
    assert counted.reads == [(place, MIB) for place in range(0, len(DATA), MIB)]


@given(st.lists(st.tuples(st.integers(0, len(DATA) + 9), st.integers(0, 5 * MIB)), max_size=6))
@settings(max_examples=20)
def test_any_read_is_right(reads: list[tuple[int, int]]) -> None:
    counted = CountedBlob(DATA)
    blob = StreamedBlob(counted)
    for offset, size in reads:
        assert blob.pread(size, offset) == DATA[offset : offset + size]


def test_a_read_far_ahead_fetches_what_it_asks_for() -> None:
    counted = CountedBlob(DATA)
    assert StreamedBlob(counted).pread(10, 60 * MIB) == DATA[60 * MIB : 60 * MIB + 10]
    assert counted.reads == [(60 * MIB, 10)]
