"""Gzip decoded in order, from the start or from the middle."""

import random
import zlib

import pytest

from imgfs.blob import MemoryBlob
from imgfs.codec.cursor import Cursor
from imgfs.codec.inflate import CHUNK_SIZE, inflate, inflate_from
from imgfs.errors import Corrupt
from tests.codec.encoders import gzip_member, texture


def shifted(deflated: bytes, bits: int) -> bytes:
    """Deflate data that begins at a later bit, after bits that mean something else."""
    number = int.from_bytes(deflated, "little") << bits | random.Random(bits).getrandbits(bits)
    return number.to_bytes(len(deflated) + bits // 8 + 1, "little")


@pytest.mark.parametrize("bit", range(8))
def test_decoding_can_start_at_any_bit_of_a_byte(bit: int) -> None:
    data = texture("words", 300_000, 4)
    window, rest = data[:32768], data[32768:]
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=window)
    deflated = encoder.compress(rest) + encoder.flush()
    stored = shifted(deflated, 8 * 100 + bit)[: 100 + len(deflated) + (bit > 0)] + bytes(8)
    next_member = gzip_member(b"and the member after it")
    assert b"".join(inflate_from(MemoryBlob(stored + next_member), 800 + bit, window)) == (
        rest + b"and the member after it"
    )


def test_members_after_the_one_entered_are_checked() -> None:
    first, second = gzip_member(b"one"), bytearray(gzip_member(b"two"))
    second[-5] ^= 1
    with pytest.raises(Corrupt, match=f"member at offset {len(first)}: checksum"):
        list(inflate_from(MemoryBlob(first + bytes(second)), 80, b""))


def test_chunks_stay_small_however_much_a_byte_decodes_to() -> None:
    stored = gzip_member(bytes(20 << 20), 9)
    sizes = [len(chunk) for chunk in inflate(Cursor(MemoryBlob(stored)))]
    assert sum(sizes) == 20 << 20
    assert max(sizes) <= CHUNK_SIZE


def test_the_cursor_is_left_where_the_last_member_ends() -> None:
    members = gzip_member(b"one") + gzip_member(b"two")
    cursor = Cursor(MemoryBlob(members + b"garbage"))
    assert b"".join(inflate(cursor)) == b"onetwo"
    assert cursor.offset == len(members)


def test_errors_say_where() -> None:
    stored = gzip_member(texture("noise", 300_000, 1))
    with pytest.raises(Corrupt, match="gzip member at offset 0: cut off at offset 1000"):
        list(inflate(Cursor(MemoryBlob(stored[:1000]))))
