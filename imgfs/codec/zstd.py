"""Zstandard: one frame after another, some of them skippable (RFC 8878).

The library decodes each frame; it finds the frame's end and verifies what the frame records, so that a blob that is
cut off is never taken for a shorter one.
"""

import struct
from collections.abc import Iterator, Mapping

from imgfs.codec.codec import FrameCodec, decode_frame
from imgfs.codec.cursor import Cursor
from imgfs.codec.zstd_module import zstd
from imgfs.errors import Corrupt

_WORD = struct.Struct("<I")  # a frame's magic, a skippable frame's size
_FRAME, _SKIPPABLE = 0xFD2FB528, range(0x184D2A50, 0x184D2A60)
_LARGEST_WINDOW = 27  # its logarithm: decoding takes 128 MiB of memory; `zstd --long` uses as much
_OPTIONS: Mapping[int, int] = {zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW}


class Zstd(FrameCodec):
    """Content sizes and checksums are verified where a frame records them."""

    def begins(self, start: bytes) -> bool:
        number = int.from_bytes(start[: _WORD.size], "little")
        return number == _FRAME or number in _SKIPPABLE

    def frames(self, cursor: Cursor) -> Iterator[tuple[int, Iterator[bytes]]]:
        while magic := cursor.take(_WORD.size):
            start = cursor.offset - len(magic)
            if not self.begins(magic):
                raise Corrupt(f"no zstd frame at offset {start}")
            name = f"zstd frame at offset {start}"
            if int.from_bytes(magic, "little") in _SKIPPABLE:
                size = cursor.take(_WORD.size)
                if len(size) < _WORD.size or not cursor.skip(*_WORD.unpack(size)):
                    raise Corrupt(f"{name}: cut off")
                continue
            cursor.put_back(len(magic))
            decoder = zstd.ZstdDecompressor(options=_OPTIONS)
            yield start, decode_frame(cursor, decoder, name, (zstd.ZstdError,))
