"""Zstandard: one frame after another (RFC 8878).

The library decodes and checks content; where frames begin and end is known from their headers, so a blob
that is cut off is never taken for a shorter one.
"""

from collections.abc import Iterator

from zstandard import ZstdDecompressor, ZstdError

from imgfs.codec.codec import FrameCodec
from imgfs.codec.compression import Compression
from imgfs.codec.cursor import Cursor
from imgfs.codec.zstd_frame import LARGEST_WINDOW, MAGIC, SKIPPABLE, Frame, frame_parts, next_frame


class Zstd(FrameCodec):
    """Chunks are of at most `LARGEST_BLOCK` bytes. Content sizes and checksums are checked where there are any."""

    compression = Compression.ZSTD

    def begins(self, start: bytes) -> bool:
        number = int.from_bytes(start[:4], "little")
        return number == MAGIC or number in SKIPPABLE

    def frames(self, cursor: Cursor) -> Iterator[tuple[int, Iterator[bytes]]]:
        while (frame := next_frame(cursor)) is not None:
            yield frame.start, _decode(cursor, frame)


def _decode(cursor: Cursor, frame: Frame) -> Iterator[bytes]:
    """Decode the frame whose header was read last."""
    decoder = ZstdDecompressor(max_window_size=LARGEST_WINDOW).decompressobj()
    size = 0
    for part in frame_parts(cursor, frame):
        try:
            chunk = decoder.decompress(part)
        except ZstdError as error:
            if "not enough memory" in str(error):
                raise MemoryError(str(error)) from None
            raise frame.corrupt(f"{error} before offset {cursor.offset}") from error
        if chunk:
            size += len(chunk)
            yield chunk
    if not decoder.eof or frame.content_size not in (None, size):
        raise frame.corrupt(f"{size} bytes, but its header says {frame.content_size}")
