"""Headers and trailers of gzip members, as RFC 1952 lays them out.

A gzip file is one member after another. What follows the last one and is no member is ignored, as gzip(1)
does: padding to a block or a tape's rest. This module knows nothing of the deflate data in between.
"""

import struct
import zlib
from dataclasses import dataclass

from imgfs.codec.cursor import Cursor
from imgfs.errors import Corrupt

MAGIC = b"\x1f\x8b"
_FIXED = struct.Struct("<2sBBIBB")  # ID1 ID2, CM, FLG, MTIME, XFL, OS
_TRAILER = struct.Struct("<II")  # CRC32, ISIZE
_DEFLATE = 8
_HAS_HEADER_CRC, _HAS_EXTRA, _HAS_NAME, _HAS_COMMENT = 2, 4, 8, 16
_LONGEST_TEXT = 1 << 20  # of a name or comment; nothing real comes near


@dataclass(slots=True)
class Check:
    """CRC-32 and length of a member's decoded bytes, as its trailer records them."""

    crc: int = 0
    size: int = 0


def begins_member(cursor: Cursor) -> bool:
    """Whether a member begins at the cursor, which does not move."""
    magic = cursor.take(len(MAGIC))
    cursor.put_back(len(magic))
    return magic == MAGIC


def skip_header(cursor: Cursor) -> None:
    """Move past the header that begins at the cursor. Raises Corrupt if it is cut off or not understood.

    Reserved flags are ignored, as Go's reader does, which docker and registries read blobs with: if they ever
    meant another field, the data after it would not pass its checksum.
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
    """Move past a trailer and compare it with `check`, unless None: nobody saw the whole member.

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
