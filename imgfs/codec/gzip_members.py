"""Gzip decoded in order, from the start or from the middle of a member (RFC 1952).

A gzip file is one member after another. What follows the last one and is not a member is ignored, as gzip(1) does: it
is padding to a block, or the rest of a tape. isal decodes the deflate data; headers, trailers and the end of the file
are handled here, so that all readers of gzip in imgfs agree on them.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from isal import isal_zlib

from imgfs.blob import Blob
from imgfs.codec.codec import CHUNK_SIZE
from imgfs.codec.cursor import Cursor
from imgfs.errors import Corrupt

MAGIC = b"\x1f\x8b"
_FIXED = struct.Struct("<2sBBIBB")  # ID1 ID2, CM, FLG, MTIME, XFL, OS
_TRAILER = struct.Struct("<II")  # CRC32, ISIZE
_DEFLATE = 8
_HAS_HEADER_CRC, _HAS_EXTRA, _HAS_NAME, _HAS_COMMENT = 2, 4, 8, 16
_LONGEST_TEXT = 1 << 20  # of a name or comment; nothing real comes near

_RAW = -15  # deflate without a wrapper, window of 32 KiB
# deflate blocks that decode to nothing, and their lengths in bits (RFC 1951 3.2.3)
_FIXED_BLOCK = (0b0000000_01_0, 10)  # not final, fixed codes, end of block
# not final, dynamic codes: two literal codes of one bit (0 and end of block), one unused distance code
_DYNAMIC_BLOCK = (0x4D5FF10000000000081C004, 91)


@dataclass(slots=True)
class Check:
    """CRC-32 and length of a member's decoded bytes, as its trailer records them."""

    crc: int = 0
    size: int = 0

    def update(self, chunk: bytes | memoryview) -> None:
        """Count the decoded bytes that come next."""
        self.crc = isal_zlib.crc32(chunk, self.crc)
        self.size += len(chunk)


def begins_member(cursor: Cursor) -> bool:
    """Whether a member begins at the cursor, which does not move."""
    magic = cursor.take(len(MAGIC))
    cursor.put_back(len(magic))
    return magic == MAGIC


def skip_header(cursor: Cursor) -> None:
    """Move past the header that begins at the cursor. Raises Corrupt if it is cut off or not understood.

    Reserved flags are ignored, as by Go's reader, with which Docker and registries read blobs: if they ever
    announced another field, the data after it would fail its checksum.
    """
    header = _Header(cursor)
    magic, method, flags, _, _, _ = _FIXED.unpack(header.take(_FIXED.size))
    if magic != MAGIC:
        raise header.corrupt("is not gzip")
    if method != _DEFLATE:
        raise header.corrupt(f"has unknown method {method}")
    if flags & _HAS_EXTRA:
        header.take(int.from_bytes(header.take(2), "little"))
    for flag in (_HAS_NAME, _HAS_COMMENT):
        if flags & flag:
            header.take_text()
    if flags & _HAS_HEADER_CRC:
        expected = header.crc & 0xFFFF
        if int.from_bytes(header.take(2), "little") != expected:
            raise header.corrupt("fails its header checksum")


def check_trailer(cursor: Cursor, start: int, check: Check | None) -> None:
    """Move past a trailer and compare it with `check`, if given: without it, only part of the member was decoded.

    Raises Corrupt, naming the member by the offset it starts at.
    """
    trailer = cursor.take(_TRAILER.size)
    if len(trailer) < _TRAILER.size:
        raise Corrupt(f"gzip member at offset {start}: cut off in its trailer")
    if check is None:
        return
    crc, size = _TRAILER.unpack(trailer)
    if crc != check.crc:
        raise Corrupt(f"gzip member at offset {start}: checksum {check.crc:08x} is not {crc:08x}")
    if size != check.size & 0xFFFFFFFF:
        raise Corrupt(f"gzip member at offset {start}: {check.size} bytes, its trailer says {size}")


class _Header:
    """Takes a header's fields one by one and keeps the checksum over them."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._start = cursor.offset
        self.crc = 0

    def take(self, size: int) -> bytes:
        data = self._cursor.take(size)
        if len(data) < size:
            raise self.corrupt("is cut off")
        self.crc = zlib.crc32(data, self.crc)
        return data

    def take_text(self) -> None:
        for _ in range(_LONGEST_TEXT):
            if self.take(1) == b"\0":
                return
        raise self.corrupt("has an endless name or comment")

    def corrupt(self, reason: str) -> Corrupt:
        return Corrupt(f"gzip header at offset {self._start} {reason}")


def inflate(cursor: Cursor) -> Iterator[bytes]:
    """Decode all members from the cursor on, in chunks of at most `CHUNK_SIZE` bytes.

    Verifies the CRC-32 and size of every member, and leaves the cursor where the last one ends.
    Raises Corrupt for anything wrong, and what `pread` raises.
    """
    yield from _whole_member(cursor)
    while begins_member(cursor):
        yield from _whole_member(cursor)


def inflate_from(blob: Blob, bit_offset: int, window: bytes) -> Iterator[bytes]:
    """Decode from a deflate block that begins at a bit of the blob, counted from the lowest bit of each byte.

    `window` is what was decoded just before, up to 32 KiB. The member that is entered in its middle cannot be
    compared with its trailer; those after it are. Bit 0 is the start of the blob, header first.
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
                check.update(chunk)
            yield chunk
    cursor.put_back(len(decoder.unused_data))
    check_trailer(cursor, start, check)


def _lead_in(first: bytes, bit: int) -> bytes:
    """Empty blocks that end before `bit` of a byte, whose bits from there on are those of `first`.

    With them a decoder, which takes whole bytes, begins at a bit that is not the first of its byte.
    """
    bits, size = _DYNAMIC_BLOCK if bit % 2 else (0, 0)
    while size % 8 != bit:
        block, length = _FIXED_BLOCK
        bits |= block << size
        size += length
    return (bits | int.from_bytes(first) >> bit << size).to_bytes(size // 8 + 1, "little")
