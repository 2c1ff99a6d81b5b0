"""Gzip: decoded by `gzip_members`, and in a pass by what finds seek points best."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from imgfs.blob import Blob
from imgfs.codec.codec import CHUNK_SIZE, Codec, DecodePass, gather
from imgfs.codec.cursor import Cursor
from imgfs.codec.gzip_blocks import gunzip_blocks
from imgfs.codec.gzip_members import inflate, inflate_from, skip_header
from imgfs.codec.parallel_gzip import TooDense, Unreliable, fast, frugal, gunzip_parallel, steady
from imgfs.codec.seek_table import SeekPoint, SeekTable, SeekTableBuilder
from imgfs.codec.span_hasher import SPAN_SIZE, SpanHasher
from imgfs.errors import Corrupt

_SMALL = 8 << 20  # stored bytes that are decoded before starting another process would pay off
_SMALL_DECODED = 8 * _SMALL
_LARGEST_SPAN = 2 * SPAN_SIZE
"""Decoded bytes: points are where deflate blocks begin, so spans end a little late."""

_Decode = Callable[[SeekTableBuilder, SpanHasher], Generator[memoryview, None, None]]


class Gzip(Codec):
    """Members of deflate data, which can be entered at any block of it."""

    def begins(self, start: bytes) -> bool:
        return start.startswith(b"\x1f\x8b\x08")

    def decode_from(self, blob: Blob, point: SeekPoint) -> Iterator[bytes]:
        return inflate_from(blob, point.bit, point.window)

    def decode_pass(self, blob: Blob, *, with_spans: bool = False) -> DecodePass:
        return _GzipPass(blob, with_spans=with_spans)


class _GzipPass(DecodePass):
    """Tries several decoders; each continues where the one before failed.

    rapidgzip is the fastest on large blobs, zlib needs nothing but time, and `inflate`, which finds no points, decides
    what is corrupt.
    """

    def _run(self) -> Generator[bytes | memoryview, None, None]:
        skip_header(Cursor(self._blob))  # rapidgzip does not verify all of the first one
        position = 0
        for decode in self._decoders():
            hasher = SpanHasher(_LARGEST_SPAN)
            builder, passed = SeekTableBuilder(found=hasher.add_point), 0
            try:
                with closing(decode(builder, hasher)) as chunks:
                    for chunk in chunks:
                        if self._with_spans:
                            hasher.update(chunk)
                        known = min(len(chunk), position - passed)  # from the decoder before
                        passed += len(chunk)
                        if known == len(chunk):
                            self.give_back(chunk)
                            continue
                        position = passed
                        yield chunk[known:]
                self._spans = hasher.finish()
                self._table = self._checked_table(builder, position)
                return
            except (TooDense, Unreliable):
                continue
        passed, hasher = 0, SpanHasher()
        for piece in gather(inflate(Cursor(self._blob)), CHUNK_SIZE):
            passed += len(piece)
            if self._with_spans:
                hasher.update(piece)
            if passed > position:
                yield piece[position - passed :]
                position = passed
        self._spans = hasher.finish()
        self._table = SeekTableBuilder().build(self._blob.size, position)

    def _decoders(self) -> Iterator[_Decode]:
        blob, spare = self._blob, self._spare
        if self._with_spans:
            if blob.size < SPAN_SIZE:
                yield lambda builder, _: gunzip_blocks(blob, builder, spare, _SMALL_DECODED, SPAN_SIZE)
            yield lambda builder, hasher: gunzip_parallel(blob, steady(), builder, spare, hasher.add_point)
            yield lambda builder, _: gunzip_blocks(blob, builder, spare, spacing=SPAN_SIZE)
            return
        if blob.size < _SMALL:
            yield lambda builder, _: gunzip_blocks(blob, builder, spare, _SMALL_DECODED)
        yield lambda builder, _: gunzip_parallel(blob, fast(), builder, spare)
        yield lambda builder, _: gunzip_parallel(blob, frugal(), builder, spare)
        yield lambda builder, _: gunzip_blocks(blob, builder, spare)

    def _checked_table(self, builder: SeekTableBuilder, size: int) -> SeekTable:
        """The points that were found. Raises Unreliable unless `inflate` finds the same end of the data."""
        table = builder.build(self._blob.size, size, self._spans.offsets if self._with_spans else None)
        point = table.point_before(size)
        try:
            rest = sum(map(len, inflate_from(self._blob, point.bit, point.window)))
        except Corrupt as error:
            raise Unreliable(str(error)) from error
        if point.offset + rest != size:
            raise Unreliable("the data goes on")
        return table
