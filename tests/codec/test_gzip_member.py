"""Headers and trailers of gzip members."""

import pytest

from imgfs.blob import MemoryBlob
from imgfs.codec.cursor import Cursor
from imgfs.codec.gzip_member import Check, begins_member, check_trailer, skip_header
from imgfs.errors import Corrupt
from tests.codec.encoders import gzip_member


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
