"""Gzip: decoded by `inflate`, and passed over by what finds seek points best."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing

from imgfs.blob import Blob
from imgfs.codec.chunks import gather, skip
from imgfs.codec.codec import PASS_CHUNK_SIZE, Codec, Decoding
from imgfs.codec.compression import Compression
from imgfs.codec.cursor import Cursor
from imgfs.codec.gzip_blocks import gunzip_blocks
from imgfs.codec.gzip_member import skip_header
from imgfs.codec.inflate import inflate, inflate_from
from imgfs.codec.parallel_gzip import TooDense, Unsure, fast, frugal, gunzip_parallel
from imgfs.codec.seek_table import SeekPoint, SeekTable, SeekTableBuilder
from imgfs.errors import Corrupt

_SMALL = 8 << 20  # stored bytes that are decoded before another process would have begun to pay off
_SMALL_DECODED = 8 * _SMALL


class Gzip(Codec):
    """Members of deflate data, which can be entered at any block of it."""

    compression = Compression.GZIP

    def begins(self, start: bytes) -> bool:
        return start.startswith(b"\x1f\x8b\x08")

    def enter(self, blob: Blob, point: SeekPoint) -> Iterator[bytes]:
        return inflate_from(blob, point.bit, point.window)

    def pass_over(self, blob: Blob) -> Decoding:
        return _GzipDecoding(blob)


class _GzipDecoding(Decoding):
    """Tries one decoder after another, each of which goes on where the one before gave up.

    rapidgzip is the fastest on large blobs, zlib needs nothing but time, and `inflate` has the last word on what is
    corrupt; it finds no points.
    """

    def _run(self) -> Generator[bytes | memoryview, None, None]:
        skip_header(Cursor(self._blob))  # rapidgzip does not verify all of the first one
        position = 0
        for decode in self._decoders():
            builder, passed = SeekTableBuilder(Compression.GZIP), 0
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
            except (TooDense, Unsure):
                continue
        for rest in skip(gather(inflate(Cursor(self._blob)), PASS_CHUNK_SIZE), position):
            position += len(rest)
            yield rest
        self._table = SeekTableBuilder(Compression.GZIP).build(self._blob.size, position)

    def _decoders(self) -> Iterator[Callable[[SeekTableBuilder], Generator[memoryview, None, None]]]:
        blob, spare = self._blob, self._spare
        if blob.size < _SMALL:
            yield lambda builder: gunzip_blocks(blob, builder, spare, _SMALL_DECODED)
        yield lambda builder: gunzip_parallel(blob, fast(), builder, spare)
        yield lambda builder: gunzip_parallel(blob, frugal(), builder, spare)
        yield lambda builder: gunzip_blocks(blob, builder, spare)

    def _checked_table(self, builder: SeekTableBuilder, size: int) -> SeekTable:
        """The points that were found. Raises Unsure unless `inflate` agrees on where the data ends."""
        table = builder.build(self._blob.size, size)
        point = table.point_before(size)
        try:
            rest = sum(map(len, inflate_from(self._blob, point.bit, point.window)))
        except Corrupt as error:
            raise Unsure(str(error)) from error
        if point.offset + rest != size:
            raise Unsure("the data goes on")
        return table
