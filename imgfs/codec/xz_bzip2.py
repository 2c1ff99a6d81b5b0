"""xz and bzip2, as old archives and their layers are stored: one stream after another.

The standard library decodes each stream; it finds the stream's end and verifies its checksums. Bytes after the
last stream that are not another one are an error, as they are for xz(1) and for Go's bzip2 reader, which Docker uses.
"""

import bz2
import lzma
from abc import abstractmethod
from collections.abc import Iterator

from imgfs.codec.codec import FrameCodec, decode_frame
from imgfs.codec.cursor import Cursor
from imgfs.errors import Corrupt

_MEMORY_LIMIT = 130 << 20  # bytes that decoding xz may take; `xz -9` needs 65 MiB
_FAILURES = (lzma.LZMAError, OSError, EOFError)
_BZIP2_STARTS = tuple(
    b"BZh%d" % level + magic for level in range(1, 10) for magic in (b"1AY&SY", b"\x17rE8P\x90")
)


class _StreamCodec(FrameCodec):
    name: str

    def frames(self, cursor: Cursor) -> Iterator[tuple[int, Iterator[bytes]]]:
        while True:
            start = cursor.offset
            yield start, decode_frame(cursor, self._decoder(), self._name(start), _FAILURES)
            if self._is_over(cursor):
                return

    def _name(self, start: int) -> str:
        return f"{self.name} stream at offset {start}"

    @abstractmethod
    def _decoder(self) -> lzma.LZMADecompressor | bz2.BZ2Decompressor:
        """A decoder of one stream."""

    @abstractmethod
    def _is_over(self, cursor: Cursor) -> bool:
        """Whether the blob ends after a stream; moves past padding."""


class Xz(_StreamCodec):
    """The .xz file format 1.2.1; its predecessor LZMA_alone is not read."""

    name = "xz"

    def begins(self, start: bytes) -> bool:
        return start.startswith(b"\xfd7zXZ\0")

    def _decoder(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_LIMIT)

    def _is_over(self, cursor: Cursor) -> bool:
        start = cursor.offset
        while not any(word := cursor.take(4)):  # padding is zeros, a multiple of four bytes (2.2)
            if not word:
                return True
            if len(word) < 4:
                raise Corrupt(f"{self._name(start)}: padding of an odd length follows the stream before")
        cursor.put_back(len(word))
        return False


class Bzip2(_StreamCodec):
    """As bzip2(1) writes it: a stream's header, followed by the magic of its first block or of its end."""

    name = "bzip2"

    def begins(self, start: bytes) -> bool:
        return start.startswith(_BZIP2_STARTS)

    def _decoder(self) -> bz2.BZ2Decompressor:
        return bz2.BZ2Decompressor()

    def _is_over(self, cursor: Cursor) -> bool:
        following = cursor.take(1)
        cursor.put_back(len(following))
        return not following
