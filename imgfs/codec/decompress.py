"""Zstandard decoded in order, from the start of the blob or of any frame in it.

The library decodes and checks content; where frames begin and end is known from their headers, so a blob
that is cut off is never taken for a shorter one.
"""

from collections.abc import Iterator

from zstandard import ZstdDecompressor, ZstdError

from imgfs.blob import Blob
from imgfs.codec.cursor import Cursor
from imgfs.codec.zstd_frame import LARGEST_WINDOW, Frame, frame_parts, next_frame


def decompress(blob: Blob, offset: int = 0) -> Iterator[bytes]:
    """Decode all frames from the one at stored `offset` on, in chunks of at most `LARGEST_BLOCK` bytes.

    Checks content sizes and checksums. Raises Corrupt for anything wrong, what `pread` raises too.
    """
    cursor = Cursor(blob, offset)
    while (frame := next_frame(cursor)) is not None:
        yield from decode_frame(cursor, frame)


def decode_frame(cursor: Cursor, frame: Frame) -> Iterator[bytes]:
    """Decode the frame whose header was read last. Raises as `decompress` does."""
    decoder = ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()
    size = 0
    for part in frame_parts(cursor, frame):
        try:
            chunk = decoder.decompress(part)
        except ZstdError as error:
            raise frame.corrupt(f"{error} before offset {cursor.offset}") from error
        if chunk:
            size += len(chunk)
            yield chunk
    if not decoder.eof or frame.content_size not in (None, size):
        raise frame.corrupt(f"{size} bytes, but its header says {frame.content_size}")
