import random
from threading import Lock, Thread

import pytest

from imgfs.registry.read_ahead import ReadAhead

DATA = random.Random(1).randbytes(20 << 20)


class Fetches:
    """Reads of `DATA` that are counted; `most` were in flight at once."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.running = self.most = 0
        self.broken = False
        self._lock = Lock()

    def __call__(self, size: int, offset: int) -> bytes:
        with self._lock:
            self.ranges.append((size, offset))
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            if self.broken:
                raise OSError("broken")
            assert offset + size <= len(DATA)
            return DATA[offset : offset + size]
        finally:
            with self._lock:
                self.running -= 1

    @property
    def bytes(self) -> int:
        return sum(size for size, _ in self.ranges)


def read_all(ahead: ReadAhead, step: int) -> bytes:
    parts = [ahead.pread(min(step, len(DATA) - at), at) for at in range(0, len(DATA), step)]
    return b"".join(parts)


@pytest.mark.parametrize("step", [4096 * 7, 128 << 10, 3 << 20])
def test_a_reader_in_order_gets_every_byte_once_in_few_large_ranges(step: int) -> None:
    fetches = Fetches()
    assert read_all(ReadAhead(len(DATA), fetches), step) == DATA
    assert fetches.bytes == len(DATA)
    assert len(fetches.ranges) < 45
    assert fetches.most <= 5  # four ahead, and the reader's own


def test_a_reader_that_skips_what_it_has_is_still_read_ahead_of() -> None:
    fetches = Fetches()
    ahead = ReadAhead(len(DATA), fetches)
    for number, at in enumerate(range(0, len(DATA), 100_000)):
        if number < 10 or number % 7:
            assert ahead.pread(min(100_000, len(DATA) - at), at) == DATA[at : at + 100_000]
    assert fetches.bytes <= len(DATA)
    assert len(fetches.ranges) < 45


def test_a_random_reader_fetches_what_it_asks_for() -> None:
    fetches = Fetches()
    ahead = ReadAhead(len(DATA), fetches)
    for at in (5 << 20, 17 << 20, 1 << 20, 9 << 20, 13 << 20, 3 << 20):
        assert ahead.pread(100_000, at) == DATA[at : at + 100_000]
    assert fetches.bytes == 600_000


def test_no_more_is_fetched_ahead_than_was_read_in_order() -> None:
    fetches = Fetches()
    ahead = ReadAhead(len(DATA), fetches)
    for at in range(0, 2 << 20, 128 << 10):
        ahead.pread(128 << 10, at)
    ahead.close()
    assert fetches.bytes <= 4 << 20


def test_a_range_that_failed_ahead_is_fetched_by_the_reader_that_comes_there() -> None:
    fetches = Fetches()
    ahead = ReadAhead(len(DATA), fetches)
    for at in range(0, 1 << 20, 128 << 10):
        ahead.pread(128 << 10, at)
    fetches.broken = True
    with pytest.raises(OSError, match="broken"):
        for at in range(1 << 20, 20 << 20, 128 << 10):
            ahead.pread(128 << 10, at)
    fetches.broken = False
    for at in range(1 << 20, 20 << 20, 128 << 10):
        assert ahead.pread(128 << 10, at) == DATA[at : at + (128 << 10)]


def test_several_readers_in_order_do_not_disturb_each_other() -> None:
    fetches = Fetches()
    ahead = ReadAhead(len(DATA), fetches)
    wrong: list[int] = []

    def follow(start: int, end: int) -> None:
        for at in range(start, end, 64 << 10):
            if ahead.pread(64 << 10, at) != DATA[at : at + (64 << 10)]:
                wrong.append(at)

    threads = [Thread(target=follow, args=(at << 20, (at + 5) << 20)) for at in (0, 5, 10, 15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert fetches.bytes <= 3 * len(DATA)  # what follows their parts is read ahead, too
