"""Zstandard: one frame after another, some of them skippable (RFC 8878).

The library decodes each frame; it finds the frame's end and verifies what the frame records, so that a blob that is
cut off is never taken for a shorter one.
"""

from collections.abc import Iterator, Mapping

from imgfs.codec.codec import FrameCodec, decode_frame
from imgfs.codec.cursor import Cursor
from imgfs.codec.zstd_module import zstd
from imgfs.errors import Corrupt

_MAGIC_SIZE = 4
_FRAME, _SKIPPABLE = 0xFD2FB528, range(0x184D2A50, 0x184D2A60)
_LARGEST_WINDOW = 27  # its logarithm: decoding takes 128 MiB of memory; `zstd --long` uses as much
_OPTIONS: Mapping[int, int] = {zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW}


class Zstd(FrameCodec):
    """Content sizes and checksums are verified where a frame records them."""

    def begins(self, start: bytes) -> bool:
        number = int.from_bytes(start[:_MAGIC_SIZE], "little")
        return number == _FRAME or number in _SKIPPABLE

    def frames(self, cursor: Cursor) -> Iterator[tuple[int, Iterator[bytes]]]:
        while True:
            start = cursor.offset
            magic = cursor.take(_MAGIC_SIZE)
            if not magic:
                return
            if not self.begins(magic):
                raise Corrupt(f"no zstd frame at offset {start}")
            cursor.put_back(len(magic))
            decoder = zstd.ZstdDecompressor(options=_OPTIONS)
            yield start, decode_frame(cursor, decoder, f"zstd frame at offset {start}", (zstd.ZstdError,))
