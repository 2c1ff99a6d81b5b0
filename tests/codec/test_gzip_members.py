"""Gzip decoded in order, from the start or from the middle: headers, trailers and the data between them."""

import random
import zlib

import pytest

from imgfs.blob import MemoryBlob
from imgfs.codec.codec import CHUNK_SIZE
from imgfs.codec.cursor import Cursor
from imgfs.codec.gzip_members import (
    Check,
    begins_member,
    check_trailer,
    inflate,
    inflate_from,
    skip_header,
)
from imgfs.errors import Corrupt
from tests.codec.encoders import gzip_member, texture


def shifted(deflated: bytes, bits: int) -> bytes:
    """Deflate data that begins at a later bit, after bits that mean something else."""
    number = int.from_bytes(deflated, "little") << bits | random.Random(bits).getrandbits(bits)
    return number.to_bytes(len(deflated) + bits // 8 + 1, "little")


@pytest.mark.parametrize("bit", range(8))
def test_decoding_can_start_at_any_bit_of_a_byte(bit: int) -> None:
    data = texture("words", 300_000, 10)
    window, rest = data[:32768], data[32768:]
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=window)
    deflated = encoder.compress(rest) + encoder.flush()
    assert deflated[-1] & 0x80, "it ends with the last bit of a byte"
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


@pytest.mark.parametrize("flags", [0, 1, 2, 4, 8, 16, 31, 0xE0])
def test_every_optional_field_is_stepped_over(flags: int) -> None:
    member = gzip_member(b"", flags=flags)
    cursor = Cursor(MemoryBlob(member))
    assert begins_member(cursor)
    skip_header(cursor)
    assert member[cursor.offset :] == gzip_member(b"")[10:]


def test_a_header_cut_off_anywhere_is_corrupt() -> None:
    header = gzip_member(b"", flags=30)[:-10]
    for cut in range(len(header)):
        with pytest.raises(Corrupt, match="cut off"):
            skip_header(Cursor(MemoryBlob(header[:cut])))


@pytest.mark.parametrize(
    ("position", "byte", "reason"),
    [(0, 0, "not gzip"), (2, 9, "method 9"), (4, 1, "checksum")],
)
def test_a_header_that_is_not_understood_is_corrupt(position: int, byte: int, reason: str) -> None:
    header = bytearray(gzip_member(b"", flags=2))
    header[position] = byte
    with pytest.raises(Corrupt, match=reason):
        skip_header(Cursor(MemoryBlob(bytes(header))))


def test_a_name_without_end_is_corrupt_without_reading_all_of_it() -> None:
    header = gzip_member(b"", flags=8)[:10] + b"n" * (2 << 20)
    with pytest.raises(Corrupt, match="endless"):
        skip_header(Cursor(MemoryBlob(header)))


def test_sizes_are_compared_as_the_trailer_records_them() -> None:
    """Modulo 2**32."""
    trailer = gzip_member(b"hello")[-8:]
    crc = int.from_bytes(trailer[:4], "little")
    check_trailer(Cursor(MemoryBlob(trailer)), 0, Check(crc, (1 << 32) + 5))
    for check in (Check(crc ^ 1, 5), Check(crc, 6)):
        with pytest.raises(Corrupt, match="offset 77"):
            check_trailer(Cursor(MemoryBlob(trailer)), 77, check)
