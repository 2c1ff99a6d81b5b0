"""Gzip: decoded by `gzip_members`, and in a pass by what finds seek points best."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from imgfs.blob import Blob
from imgfs.codec.codec import CHUNK_SIZE, Codec, DecodePass, gather
from imgfs.codec.cursor import Cursor
from imgfs.codec.gzip_blocks import gunzip_blocks
from imgfs.codec.gzip_members import inflate, inflate_from, skip_header
from imgfs.codec.parallel_gzip import TooDense, Unreliable, fast, frugal, gunzip_parallel
from imgfs.codec.seek_table import SeekPoint, SeekTable, SeekTableBuilder
from imgfs.errors import Corrupt

_SMALL = 8 << 20  # stored bytes that are decoded before starting another process would pay off
_SMALL_DECODED = 8 * _SMALL


class Gzip(Codec):
    """Members of deflate data, which can be entered at any block of it."""

    def begins(self, start: bytes) -> bool:
        return start.startswith(b"\x1f\x8b\x08")

    def decode_from(self, blob: Blob, point: SeekPoint) -> Iterator[bytes]:
        return inflate_from(blob, point.bit, point.window)

    def decode_pass(self, blob: Blob) -> DecodePass:
        return _GzipPass(blob)


class _GzipPass(DecodePass):
    """Tries several decoders; each continues where the one before failed.

    rapidgzip is the fastest on large blobs, zlib needs nothing but time, and `inflate`, which finds no points, decides
    what is corrupt.
    """

    def _run(self) -> Generator[bytes | memoryview, None, None]:
        skip_header(Cursor(self._blob))  # rapidgzip does not verify all of the first one
        position = 0
        for decode in self._decoders():
            builder, passed = SeekTableBuilder(), 0
            try:
                with closing(decode(builder)) as chunks:
                    for chunk in chunks:
                        known = min(len(chunk), position - passed)  # from the decoder before
                        passed += len(chunk)
                        if known == len(chunk):
                            self.give_back(chunk)
                            continue
                        position = passed
                        yield chunk[known:]
                self._table = self._checked_table(builder, position)
                return
            except (TooDense, Unreliable):
                continue
        passed = 0
        for piece in gather(inflate(Cursor(self._blob)), CHUNK_SIZE):
            passed += len(piece)
            if passed > position:
                yield piece[position - passed :]
                position = passed
        self._table = SeekTableBuilder().build(self._blob.size, position)

    def _decoders(self) -> Iterator[Callable[[SeekTableBuilder], Generator[memoryview, None, None]]]:
        blob, spare = self._blob, self._spare
        if blob.size < _SMALL:
            yield lambda builder: gunzip_blocks(blob, builder, spare, _SMALL_DECODED)
        yield lambda builder: gunzip_parallel(blob, fast(), builder, spare)
        yield lambda builder: gunzip_parallel(blob, frugal(), builder, spare)
        yield lambda builder: gunzip_blocks(blob, builder, spare)

    def _checked_table(self, builder: SeekTableBuilder, size: int) -> SeekTable:
        """The points that were found. Raises Unreliable unless `inflate` finds the same end of the data."""
        table = builder.build(self._blob.size, size)
        point = table.point_before(size)
        try:
            rest = sum(map(len, inflate_from(self._blob, point.bit, point.window)))
        except Corrupt as error:
            raise Unreliable(str(error)) from error
        if point.offset + rest != size:
            raise Unreliable("the data goes on")
        return table
