"""The fields of a tar header: checksums, numbers, names.

Format: POSIX.1-1988 ustar (octal numbers), star and GNU tar (base-256 numbers). Errors are ValueError; who
knows the offset makes a Corrupt of them.
"""

from zlib import adler32

BLOCK = 512


def checksum_matches(block: bytes, field: bytes) -> bool:
    """Whether a header's checksum `field` is the sum of its bytes, signed or unsigned, the field itself as blanks."""
    recorded = number(field)
    # Adler-32's low half is one more than the byte sum modulo 65521, which 256 bytes cannot reach
    total = (adler32(block[:256]) & 0xFFFF) + (adler32(block[256:]) & 0xFFFF) - 2
    total += 8 * ord(" ") - sum(field)
    if recorded == total:
        return True
    high = sum(byte > 127 for byte in block) - sum(byte > 127 for byte in field)
    return recorded == total - 256 * high  # old Sun tars summed signed bytes


def number(field: bytes) -> int:
    """A number in octal, blanks or NULs around it, or in base 256 with the first bit set. Blank means 0."""
    if field[0] & 0x80:
        if field[0] & 0x40:
            return int.from_bytes(field, "big", signed=True)
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    try:
        return int(field[:-1], 8)  # the usual form: digits to the last byte
    except ValueError:
        text = field.partition(b"\0")[0].strip()
        if not text:
            text = field.strip(b" \0")
        if text.strip(b"01234567"):
            raise ValueError(f"{field!r} is not a number") from None
        return int(text or b"0", 8)


def text(field: bytes) -> bytes:
    """A name, up to the first NUL."""
    return field.partition(b"\0")[0]


def padded(size: int) -> int:
    """A size rounded up to whole blocks."""
    return size + -size % BLOCK
