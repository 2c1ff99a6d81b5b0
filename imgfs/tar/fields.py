"""The fields of a tar header: checksums, numbers, names.

Format: POSIX.1-1988 ustar (octal numbers), star and GNU tar (base-256 numbers). Errors are ValueError; who
knows the offset makes a Corrupt of them.
"""

from functools import lru_cache

from isal.isal_zlib import adler32

BLOCK = 512
_OCTAL = b"01234567"
_REMEMBERED = (
    4096  # fields whose numbers are not worked out again: owners, modes and times repeat all the time
)


def checksum_matches(block: bytes, field: bytes) -> bool:
    """Whether a header's checksum `field` is the sum of its bytes, signed or unsigned, the field itself as blanks."""
    expected = _expected(field)
    # Adler-32's low half is one more than the byte sum modulo 65521, which ASCII never reaches, nor half a header
    if block.isascii():
        return expected == (adler32(block) & 0xFFFF) - 1
    total = (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2
    high = sum(byte > 127 for byte in block) - sum(byte > 127 for byte in field)
    return expected in (total, total - 256 * high)  # old Sun tars summed signed bytes


@lru_cache(_REMEMBERED)
def _expected(field: bytes) -> int:
    """What the bytes of a header with this checksum add up to, `field` included."""
    return number(field) - 8 * ord(" ") + sum(field)


def number(field: bytes) -> int:
    """A number in octal, blanks or NULs around it, or in base 256 with the first bit set. Blank means 0."""
    digits = field[:-1]
    if field[-1] in b"\0 " and digits.isdigit() and not digits.strip(_OCTAL):  # the usual form
        return int(digits, 8)
    if field[0] & 0x80:
        # the two's complement of what follows the first bit, which says nothing else
        value = int.from_bytes(field, "big", signed=True)
        return value if field[0] & 0x40 else value + (1 << 8 * len(field) - 1)
    digits = field.partition(b"\0")[0].strip() or field.strip(b" \0") or b"0"
    if digits.strip(_OCTAL):
        raise ValueError(f"{field!r} is not a number")
    return int(digits, 8)


def text(field: bytes) -> bytes:
    """A name, up to the first NUL."""
    return field.partition(b"\0")[0]


@lru_cache(_REMEMBERED)
def nanoseconds(field: bytes) -> int:
    """A time in seconds, in nanoseconds, as `possible_time` has it."""
    return possible_time(number(field) * 1_000_000_000)


def possible_time(nanoseconds: int) -> int:
    """The time that is nearest of those that 64 bits can say, which are from 1677 to 2262."""
    return max(-(1 << 63), min(nanoseconds, (1 << 63) - 1))


def possible_owner(number: int) -> int:
    """A user or group as Linux numbers them: the lowest 32 bits, as programs that unpack layers take them."""
    return number & 0xFFFFFFFF


def padded(size: int) -> int:
    """A size rounded up to whole blocks."""
    return size + -size % BLOCK
