"""An iterator run a few items ahead, in a thread."""

import threading
import time
from collections.abc import Iterator

import pytest

from imgfs.layers.index_pass import Prefetcher


def counted(limit: int, made: list[int]) -> Iterator[int]:
    try:
        for number in range(limit):
            made.append(number)
            yield number
    finally:
        made.append(-1)


def test_items_come_in_order() -> None:
    with Prefetcher(iter(range(1000)), depth=4) as ahead:
        assert list(ahead) == list(range(1000))


def test_no_more_than_the_depth_is_made_before_it_is_taken() -> None:
    made: list[int] = []
    with Prefetcher(counted(1000, made), depth=3) as ahead:
        assert next(iter(ahead)) == 0
        time.sleep(0.05)
        assert 2 <= len(made) <= 6


def test_what_was_raised_comes_after_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise OSError(5, "the disk is on fire")

    with Prefetcher(failing(), depth=4) as ahead:
        items = iter(ahead)
        assert next(items) == 1
        with pytest.raises(OSError, match="fire"):
            next(items)


def test_leaving_early_stops_the_thread() -> None:
    before = threading.active_count()
    made: list[int] = []
    with Prefetcher(counted(1_000_000, made), depth=4) as ahead:
        next(iter(ahead))
    assert threading.active_count() == before
    assert len(made) < 100
