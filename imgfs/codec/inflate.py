"""Gzip decoded in order, from the start or from the middle of a member.

Deflate data goes through isal; headers, trailers and the end of the stream are handled here, so every reader
of gzip in imgfs agrees on them. To start at a bit that is not the first of its byte, the decoder
is first given empty deflate blocks that end on that very bit (RFC 1951 3.2.3), which decode to nothing.
"""

from collections.abc import Iterator

from isal import isal_zlib

from imgfs.blob import Blob
from imgfs.codec.cursor import Cursor
from imgfs.codec.gzip_member import Check, begins_member, check_trailer, skip_header
from imgfs.errors import Corrupt

CHUNK_SIZE = 1 << 20
_RAW = -15  # deflate without a wrapper, window of 32 KiB

_FIXED_BLOCK = (0b0000000_01_0, 10)  # not final, fixed codes, end of block
# not final, dynamic codes: two literal codes of one bit (0 and end of block), one unused distance code
_DYNAMIC_BLOCK = (0x4D5FF10000000000081C004, 91)


def inflate(cursor: Cursor) -> Iterator[bytes]:
    """Decode all gzip members from the cursor on, in chunks of at most `CHUNK_SIZE` bytes.

    Checks the CRC-32 and size of every member, and leaves the cursor where the last one ends.
    Raises Corrupt for anything wrong, what `pread` raises too.
    """
    yield from _whole_member(cursor)
    while begins_member(cursor):
        yield from _whole_member(cursor)


def inflate_from(blob: Blob, bit_offset: int, window: bytes) -> Iterator[bytes]:
    """Decode on from a deflate block that begins at a bit of the blob, the lowest bit of a byte first.

    `window` is what was decoded just before, up to 32 KiB. The member that is entered in its middle cannot
    be checked against its trailer; those after it are. Bit 0 means the start of the blob, header first.
    """
    if not bit_offset:
        yield from inflate(Cursor(blob))
        return
    offset, bit = divmod(bit_offset, 8)
    cursor = Cursor(blob, offset)
    decoder = isal_zlib.decompressobj(_RAW, zdict=window) if window else isal_zlib.decompressobj(_RAW)
    lead_in = _lead_in(cursor.take(1), bit) if bit else b""
    yield from _member(cursor, offset, decoder, None, lead_in)
    if begins_member(cursor):
        yield from inflate(cursor)


def _whole_member(cursor: Cursor) -> Iterator[bytes]:
    start = cursor.offset
    skip_header(cursor)
    yield from _member(cursor, start, isal_zlib.decompressobj(_RAW), Check())


def _member(
    cursor: Cursor,
    start: int,
    decoder: isal_zlib.Decompress,
    check: Check | None,
    stored: bytes = b"",
) -> Iterator[bytes]:
    """Decode `stored` and what follows, up to the end of a member, trailer included.

    Errors name the member by the offset `start`.
    """
    full = False
    while not decoder.eof:
        if not stored and not full:
            stored = cursor.take_some()
            if not stored:
                raise Corrupt(f"gzip member at offset {start}: cut off at offset {cursor.offset}")
        try:
            chunk = decoder.decompress(stored, CHUNK_SIZE)
        except isal_zlib.error as error:  # type: ignore[misc]  # the stub declares an instance
            raise Corrupt(f"gzip member at offset {start}: {error} before offset {cursor.offset}") from error
        stored = decoder.unconsumed_tail
        full = len(chunk) == CHUNK_SIZE
        if chunk:
            if check is not None:
                check.crc = isal_zlib.crc32(chunk, check.crc)
                check.size += len(chunk)
            yield chunk
    cursor.put_back(len(decoder.unused_data))
    check_trailer(cursor, start, check)


def _lead_in(first: bytes, bit: int) -> bytes:
    """Empty blocks that end before `bit` of a byte, whose bits from there on are those of `first`."""
    bits, size = _DYNAMIC_BLOCK if bit % 2 else (0, 0)
    while size % 8 != bit:
        block, length = _FIXED_BLOCK
        bits |= block << size
        size += length
    return (bits | int.from_bytes(first) >> bit << size).to_bytes(size // 8 + 1, "little")
