"""The fields of a tar header: checksums, numbers, names.

Format: POSIX.1-1988 ustar (octal numbers), star and GNU tar (base-256 numbers). Where readers differ, Go's
archive/tar is followed, so the same fields are rejected. Errors are ValueError; the caller, which knows the offset,
raises Corrupt from them.
"""

import re
from functools import lru_cache

from isal.isal_zlib import adler32

from imgfs.errors import quoted

BLOCK = 512
_OCTAL = b"01234567"
_INT64 = 1 << 63  # as in Go, numbers are smaller
_LAST_TIME = _INT64 - 1  # nanoseconds
_LEAVE_OWNER = 0xFFFFFFFF
_CACHED_FIELDS = 4096  # owners, modes and times repeat all the time


def checksum_matches(block: bytes, field: bytes) -> bool:
    """Whether a header's checksum `field` is the sum of its bytes, signed or unsigned, the field itself as blanks."""
    expected = _expected(field)
    # Adler-32's low half is one more than the byte sum modulo 65521, which ASCII never reaches, nor half a header
    if block.isascii():
        return expected == (adler32(block) & 0xFFFF) - 1
    total = (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2
    high = sum(byte > 127 for byte in block) - sum(byte > 127 for byte in field)
    return expected in (total, total - 256 * high)  # old Sun tars summed signed bytes


@lru_cache(_CACHED_FIELDS)
def _expected(field: bytes) -> int:
    """The sum of the bytes of a header with this checksum, which is octal, `field` included."""
    return octal(field) - 8 * ord(" ") + sum(field)


def number(field: bytes) -> int:
    """A number in octal, blanks or NULs around it, or in base 256 with the first bit set. Blank means 0."""
    digits = field[:-1]
    if field[-1] in b"\0 " and digits.isdigit() and not digits.strip(_OCTAL):  # the usual form
        return int(digits, 8)
    if field[0] & 0x80:
        # the two's complement of the bits after the first one, which is only a mark
        value = int.from_bytes(field, "big", signed=True)
        return _int64(value if field[0] & 0x40 else value + (1 << 8 * len(field) - 1))
    return octal(field)


def octal(field: bytes) -> int:
    """A number in octal, blanks or NULs around it. Blank means 0."""
    digits = field.strip(b" \0").partition(b"\0")[0]
    if digits.strip(_OCTAL):
        raise ValueError(f"{quoted(field)} is not a number")
    return int(digits or b"0", 8)


_decimal = re.compile(rb"([+-]?)0*([0-9]{1,19})").fullmatch


def decimal(value: bytes) -> int:
    """A number in decimal, with or without a sign, of any number of leading zeros."""
    found = _decimal(value)
    if found is None:
        raise ValueError(f"{quoted(value[:32])} is not a number")
    sign, digits = found.groups()
    return _int64(-int(digits) if sign == b"-" else int(digits))


def _int64(value: int) -> int:
    if not -_INT64 <= value < _INT64:
        raise ValueError(f"{value} is too large a number")
    return value


def text(field: bytes) -> bytes:
    """A name, up to the first NUL."""
    return field.partition(b"\0")[0]


@lru_cache(_CACHED_FIELDS)
def nanoseconds(field: bytes) -> int:
    """A time in seconds, in nanoseconds."""
    return number(field) * 1_000_000_000


def is_possible(uid: int, gid: int, mtime_ns: int) -> bool:
    """Whether a file can have these, unchanged by `possible_owner` and `possible_time`."""
    return 0 <= uid < _LEAVE_OWNER and 0 <= gid < _LEAVE_OWNER and 0 <= mtime_ns <= _LAST_TIME


def possible_time(nanoseconds: int) -> int:
    """A time as moby and containerd set it: the epoch in place of any time before it or after 2262."""
    return nanoseconds if 0 <= nanoseconds <= _LAST_TIME else 0


def possible_owner(number: int) -> int:
    """A user or group as chown(2) takes it: the lowest 32 bits; if all are set, the owner stays root."""
    number &= 0xFFFFFFFF
    return number if number != _LEAVE_OWNER else 0


def padded(size: int) -> int:
    """A size rounded up to whole blocks."""
    return size + -size % BLOCK
