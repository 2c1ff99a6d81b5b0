"""Zstandard frames found by their headers, without decoding (RFC 8878 3.1.1 and 3.1.2).

A zstd blob is one frame after another; skippable frames among them hold no content. Frames are handed on
in small parts, so that what decodes them never makes more than a block's worth of bytes at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from imgfs.codec.cursor import Cursor
from imgfs.errors import Corrupt

MAGIC = 0xFD2FB528
SKIPPABLE = range(0x184D2A50, 0x184D2A60)
LARGEST_WINDOW = 128 << 20
"""In bytes; decoding takes that much memory. `zstd --long` uses as much, `--ultra` levels less."""
LARGEST_BLOCK = 128 << 10
"""In bytes, stored or decoded."""

_RAW, _RLE, _COMPRESSED, _RESERVED = 0, 1, 2, 3  # block types
_SMALLEST_COMPRESSED = 2  # bytes: a header of literals and one of sequences; not every decoder insists


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame's header: where it starts in the blob, the bytes themselves and what they announce."""

    start: int
    header: bytes
    window: int
    content_size: int | None
    has_checksum: bool

    def corrupt(self, reason: str) -> Corrupt:
        """The error for something wrong in this frame."""
        return Corrupt(f"zstd frame at offset {self.start}: {reason}")


def next_frame(cursor: Cursor) -> Frame | None:
    """Read the next frame's header, stepping over skippable frames; None at the end of the blob.

    Raises Corrupt if something else is there, if it is cut off, or if it needs a dictionary or too
    large a window.
    """
    while True:
        start = cursor.offset
        magic = cursor.take(4)
        if not magic:
            return None
        number = int.from_bytes(magic, "little")
        if number == MAGIC and len(magic) == 4:
            return _frame(cursor, start, magic)
        if number not in SKIPPABLE:
            raise Corrupt(f"no zstd frame at offset {start}")
        size = cursor.take(4)
        if len(size) < 4 or not cursor.skip(int.from_bytes(size, "little")):
            raise Corrupt(f"zstd skippable frame at offset {start}: cut off")


def frame_parts(cursor: Cursor, frame: Frame) -> Iterator[bytes]:
    """The bytes of a frame whose header was read last: header, every block, checksum.

    Raises Corrupt if the blob ends before the frame does, or a block is larger than any may be.
    """
    yield frame.header
    last = False
    while not last:
        head = cursor.take(3)
        fields = int.from_bytes(head, "little")
        last, kind, size = bool(fields & 1), fields >> 1 & 3, fields >> 3
        if kind == _RESERVED or size > LARGEST_BLOCK or (kind == _COMPRESSED and size < _SMALLEST_COMPRESSED):
            raise frame.corrupt(f"bad block at offset {cursor.offset - len(head)}")
        stored = 1 if kind == _RLE else size
        body = cursor.take(stored)
        if len(head) + len(body) < 3 + stored:
            raise frame.corrupt(f"cut off at offset {cursor.offset}")
        yield head + body
    if frame.has_checksum:
        checksum = cursor.take(4)
        if len(checksum) < 4:
            raise frame.corrupt("cut off in its checksum")
        yield checksum


def _frame(cursor: Cursor, start: int, magic: bytes) -> Frame:
    descriptor = cursor.take(1)
    if not descriptor:
        raise Corrupt(f"zstd frame at offset {start}: cut off in its header")
    flags = descriptor[0]
    single_segment = bool(flags & 0x20)
    window_length = 0 if single_segment else 1
    dictionary_length = (0, 1, 2, 4)[flags & 3]
    content_length = (int(single_segment), 2, 4, 8)[flags >> 6]
    fields = cursor.take(window_length + dictionary_length + content_length)
    if len(fields) < window_length + dictionary_length + content_length:
        raise Corrupt(f"zstd frame at offset {start}: cut off in its header")
    content_size = None
    if content_length:
        # the two-byte form counts from 256, the first value the one-byte form lacks
        content_size = int.from_bytes(fields[-content_length:], "little") + (
            256 if content_length == 2 else 0
        )
    if content_size is not None and single_segment:
        window = content_size
    else:
        base = 1 << (10 + (fields[0] >> 3))
        window = base + base // 8 * (fields[0] & 7)
    frame = Frame(start, magic + descriptor + fields, window, content_size, bool(flags & 4))
    if any(fields[window_length : window_length + dictionary_length]):
        raise frame.corrupt("needs a dictionary")
    if window > LARGEST_WINDOW:
        raise frame.corrupt(f"needs a window of {window} bytes, more than {LARGEST_WINDOW}")
    return frame
