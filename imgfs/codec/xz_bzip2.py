"""xz and bzip2, as old archives and their layers are stored: streams one after another.

The standard library decodes; it knows where a stream ends, and checks what the stream records. Whatever follows the
last stream and is none is an error, as it is for xz(1) and for Go's reader of bzip2, by which docker reads them.
"""

import bz2
import lzma
from abc import abstractmethod
from collections.abc import Iterator

from imgfs.codec.codec import PASS_CHUNK_SIZE, FrameCodec
from imgfs.codec.compression import Compression
from imgfs.codec.cursor import Cursor
from imgfs.errors import Corrupt

_MEMORY_LIMIT = 130 << 20  # bytes that decoding xz may take; `xz -9` needs 65 MiB

_Decoder = lzma.LZMADecompressor | bz2.BZ2Decompressor


class _StreamCodec(FrameCodec):
    def frames(self, cursor: Cursor) -> Iterator[tuple[int, Iterator[bytes]]]:
        while True:
            start = cursor.offset
            yield start, self._stream(cursor, start)
            if self._is_over(cursor):
                return

    def _stream(self, cursor: Cursor, start: int) -> Iterator[bytes]:
        decoder = self._decoder()
        while not decoder.eof:
            stored = cursor.take_some() if decoder.needs_input else b""
            if decoder.needs_input and not stored:
                raise self._corrupt(start, f"cut off at offset {cursor.offset}")
            try:
                chunk = decoder.decompress(stored, PASS_CHUNK_SIZE)
            except (lzma.LZMAError, OSError, EOFError) as error:
                raise self._corrupt(start, f"{error} before offset {cursor.offset}") from error
            if chunk:
                yield chunk
        cursor.put_back(len(decoder.unused_data))

    def _corrupt(self, start: int, reason: str) -> Corrupt:
        return Corrupt(f"{self.compression} stream at offset {start}: {reason}")

    @abstractmethod
    def _decoder(self) -> _Decoder:
        """A decoder of one stream."""

    @abstractmethod
    def _is_over(self, cursor: Cursor) -> bool:
        """Whether the blob ends after a stream; moves past padding."""


class Xz(_StreamCodec):
    """The .xz file format 1.2.1; LZMA_alone, which came before, is not read."""

    compression = Compression.XZ

    def begins(self, start: bytes) -> bool:
        return start.startswith(b"\xfd7zXZ\0")

    def _decoder(self) -> _Decoder:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_LIMIT)

    def _is_over(self, cursor: Cursor) -> bool:
        start = cursor.offset
        while not any(word := cursor.take(4)):  # padding is zeros, a multiple of four bytes (2.2)
            if not word:
                return True
            if len(word) < 4:
                raise self._corrupt(start, "padding of an odd length follows the stream before")
        cursor.put_back(len(word))
        return False


class Bzip2(_StreamCodec):
    """As bzip2(1) writes it: a stream's header, and at once the magic of its first block or of its end."""

    compression = Compression.BZIP2

    def begins(self, start: bytes) -> bool:
        is_stream = start[:3] == b"BZh" and start[3:4] in (
            b"1",
            b"2",
            b"3",
            b"4",
            b"5",
            b"6",
            b"7",
            b"8",
            b"9",
        )
        return is_stream and start[4:10] in (b"1AY&SY", b"\x17rE8P\x90")

    def _decoder(self) -> _Decoder:
        return bz2.BZ2Decompressor()

    def _is_over(self, cursor: Cursor) -> bool:
        following = cursor.take(1)
        cursor.put_back(len(following))
        return not following
