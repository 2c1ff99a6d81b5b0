"""The decoded view with a seek table."""

import random
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import zstandard

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression, SeekTable, open_random
from imgfs.codec.random_access import FairLock, Ticket
from imgfs.errors import Corrupt
from tests.codec.encoders import gzip_member, texture
from tests.codec.failing import FailingBlob

DATA = b"".join(texture(kind, 5_000_000, 6) for kind in ("words", "noise", "zeros", "words"))
GZIP = gzip_member(DATA, 1)
ZSTD = b"".join(zstandard.compress(DATA[start : start + 700_000]) for start in range(0, len(DATA), 700_000))
CASES = [(GZIP, Compression.GZIP), (ZSTD, Compression.ZSTD)]


def table_of(stored: bytes, compression: Compression) -> SeekTable:
    with compression.codec.decode_pass(MemoryBlob(stored)) as running:
        assert b"".join(running) == DATA
        return running.table


@pytest.mark.parametrize(("stored", "compression"), CASES)
def test_a_read_in_the_middle_takes_a_small_part_of_the_stored_bytes(
    stored: bytes, compression: Compression
) -> None:
    table = table_of(stored, compression)
    assert len(table) > 4
    for offset in random.Random(1).sample(range(len(DATA) - 1000), 20):
        counted = FailingBlob(stored, 2 * len(stored))
        assert open_random(counted, compression, table).pread(1000, offset) == DATA[offset : offset + 1000]
        assert counted.reads <= 30


@pytest.mark.parametrize(("stored", "compression"), CASES)
def test_reading_in_order_decodes_everything_once(stored: bytes, compression: Compression) -> None:
    """Also when two readers do so at different places, and threads take turns."""
    table = table_of(stored, compression)
    counted = FailingBlob(stored, 2 * len(stored))
    blob = open_random(counted, compression, table)
    half = len(DATA) // 2
    offsets = [place for start in range(0, half, 100_000) for place in (start, half + start)]
    with ThreadPoolExecutor(4) as pool:
        pieces = list(pool.map(lambda offset: blob.pread(100_000, offset), offsets))
    assert b"".join(pieces[::2]) + b"".join(pieces[1::2]) == DATA
    # a busy machine lets threads fall behind, which costs another start now and then; each read on its own, hundreds
    assert counted.reads <= len(stored) // 131072 * 1.5 + 20


def test_a_blob_that_is_too_short_is_corrupt() -> None:
    table = table_of(GZIP, Compression.GZIP)
    with pytest.raises(Corrupt, match="seek table says"):
        open_random(MemoryBlob(GZIP[:-1]), Compression.GZIP, table)


@pytest.mark.parametrize(("stored", "compression"), CASES)
def test_a_blob_that_is_not_the_tables_is_corrupt(stored: bytes, compression: Compression) -> None:
    table = table_of(stored, compression)
    blob = open_random(MemoryBlob(random.Random(2).randbytes(len(stored))), compression, table)
    for offset in (0, 9_000_000, len(DATA) - 5):
        with pytest.raises(Corrupt):
            blob.pread(1000, offset)


def test_fewer_bytes_than_the_table_says_is_corrupt() -> None:
    other = gzip_member(DATA[:1000])
    table = table_of(GZIP, Compression.GZIP)
    blob = open_random(MemoryBlob(other + bytes(len(GZIP))), Compression.GZIP, table)
    assert blob.pread(10, 0) == DATA[:10]
    with pytest.raises(Corrupt, match="ends at 1000 of"):
        blob.pread(10, 995)


def test_reading_works_again_once_the_blob_does() -> None:
    stored = FailingBlob(GZIP, 0)
    blob = open_random(stored, Compression.GZIP, table_of(GZIP, Compression.GZIP))
    with pytest.raises(OSError, match="fire"):
        blob.pread(10, 10_000_000)
    stored.failing = False
    assert blob.pread(10, 10_000_000) == DATA[10_000_000:10_000_010]


def test_reads_past_the_end_are_empty() -> None:
    blob = open_random(MemoryBlob(GZIP), Compression.GZIP, table_of(GZIP, Compression.GZIP))
    assert blob.pread(10, len(DATA)) == blob.pread(0, 5) == b""
    assert blob.size == len(DATA)


def test_threads_get_a_fair_lock_in_the_order_in_which_they_asked() -> None:
    lock, order, go = FairLock(), list[int](), Event()

    def use(number: int, ticket: Ticket) -> None:
        with lock.holding(ticket):
            go.wait(10)
            order.append(number)

    tickets = [lock.join() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        # a thread that is late keeps its turn
        running = [pool.submit(use, number, tickets[number]) for number in (3, 7, 1, 0, 6, 2, 5, 4)]
        go.set()
        for each in running:
            each.result(10)
    assert order == list(range(8))


def test_trying_fails_while_a_thread_holds_a_fair_lock_or_waits_for_it() -> None:
    lock = FairLock()
    first = lock.join()
    assert lock.try_join() is None
    with lock.holding(first):
        assert lock.try_join() is None
    again = lock.try_join()
    assert again is not None
    with lock.holding(again):
        pass


def test_a_fair_lock_is_released_after_a_failure() -> None:
    lock = FairLock()
    try:
        with lock.holding(lock.join()):
            raise ZeroDivisionError
    except ZeroDivisionError:
        assert lock.try_join() is not None
