"""A position in a blob that moves forward."""

import random

from imgfs.blob import MemoryBlob
from imgfs.codec.cursor import READ_SIZE, Cursor

DATA = random.Random(1).randbytes(3 * READ_SIZE + 100)


def test_pieces_of_any_size_come_in_order() -> None:
    for step in (1000, READ_SIZE - 1, READ_SIZE, 2 * READ_SIZE + 7):
        cursor = Cursor(MemoryBlob(DATA), 5)
        taken = b"".join(iter(lambda: cursor.take(step), b""))  # noqa: B023  # used up within the turn
        assert taken == DATA[5:]
        assert cursor.offset == len(DATA)


def test_take_some_takes_what_is_at_hand() -> None:
    cursor = Cursor(MemoryBlob(DATA))
    assert cursor.take(10) + cursor.take_some() == DATA[:READ_SIZE]
    assert b"".join(iter(cursor.take_some, b"")) == DATA[READ_SIZE:]


def test_what_was_put_back_comes_again() -> None:
    cursor = Cursor(MemoryBlob(DATA))
    cursor.take(READ_SIZE - 3)
    first = cursor.take(9)
    cursor.put_back(4)
    assert cursor.offset == READ_SIZE + 2
    assert cursor.take(4) == first[5:]


def test_skipping_moves_without_reading_and_not_past_the_end() -> None:
    cursor = Cursor(MemoryBlob(DATA))
    cursor.take(1)
    assert cursor.skip(10)
    assert cursor.take(4) == DATA[11:15]
    assert cursor.skip(2 * READ_SIZE)
    assert cursor.take(4) == DATA[2 * READ_SIZE + 15 : 2 * READ_SIZE + 19]
    assert not cursor.skip(len(DATA) - cursor.offset + 1)
    assert cursor.skip(len(DATA) - cursor.offset)
    assert cursor.take(1) == b""
