"""Gzip: decoded by `inflate`, and passed over by rapidgzip as far as that can be relied on."""

from collections.abc import Generator, Iterator

from imgfs.blob import Blob, Slice
from imgfs.codec.chunks import gather, skip
from imgfs.codec.codec import PASS_CHUNK_SIZE, Codec, Decoding
from imgfs.codec.compression import Compression
from imgfs.codec.cursor import Cursor
from imgfs.codec.gzip_member import skip_header
from imgfs.codec.inflate import inflate, inflate_from
from imgfs.codec.parallel_gzip import ParallelGzip, TooDense, Unsure, fast, frugal
from imgfs.codec.seek_table import SeekPoint, SeekTable, SeekTableBuilder
from imgfs.errors import Corrupt


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
    def _run(self) -> Generator[bytes | memoryview, None, None]:
        skip_header(Cursor(self._blob))  # rapidgzip does not verify all of the first one
        position = 0
        for pace in (fast(), frugal()):
            try:
                with ParallelGzip(self._blob, pace, self._spare) as run:
                    for chunk in skip(run.chunks(), position):
                        position += len(chunk)
                        yield chunk
                    self._table = self._checked_table(run, position)
                    return
            except TooDense:
                continue
            except Unsure:
                break
        cursor = Cursor(self._blob)
        for rest in skip(gather(inflate(cursor), PASS_CHUNK_SIZE), position):
            position += len(rest)
            yield rest
        self._table = self._table_up_to(cursor.offset, position)

    def _checked_table(self, run: ParallelGzip, size: int) -> SeekTable:
        """The points that `run` found. Raises Unsure unless `inflate` agrees on where the data ends."""
        builder = SeekTableBuilder(Compression.GZIP)
        run.export(builder, size)
        table = builder.build(self._blob.size, size)
        point = table.point_before(size)
        try:
            rest = sum(map(len, inflate_from(self._blob, point.bit, point.window)))
        except Corrupt as error:
            raise Unsure(str(error)) from error
        if point.offset + rest != size:
            raise Unsure("the data goes on")
        return table

    def _table_up_to(self, end: int, size: int) -> SeekTable:
        """The table of good gzip that stops at `end`, where garbage follows that rapidgzip cannot stand."""
        if end < self._blob.size:
            trimmed = _GzipDecoding(Slice(self._blob, 0, end))
            for _ in trimmed:
                pass
            return trimmed.table
        return SeekTableBuilder(Compression.GZIP).build(end, size)
