"""One pass over a compressed blob: everything it decodes to, in order, and its seek table at the end.

Nothing here is remembered; who runs the pass hashes, scans and stores what comes by.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from typing import Self

from imgfs.blob import Blob, Slice
from imgfs.codec.chunks import gather, skip
from imgfs.codec.cursor import Cursor
from imgfs.codec.decompress import decode_frame
from imgfs.codec.detect import Compression
from imgfs.codec.gzip_member import skip_header
from imgfs.codec.inflate import inflate, inflate_from
from imgfs.codec.parallel_gzip import ParallelGzip, TooDense, Unsure, fast, frugal
from imgfs.codec.seek_table import SeekTable, SeekTableBuilder
from imgfs.codec.zstd_frame import next_frame
from imgfs.errors import Corrupt

_CHUNK_SIZE = 1 << 20
_FRAME_SPACING = 128 << 10  # decoded bytes; a table of every tiny frame would outgrow what it saves


class Decoding(ABC):
    """A pass that runs as it is iterated over, once, and can be closed at any moment.

    Yields the decoded bytes in order, in chunks of about 1 MiB that are the caller's to keep, or to give back.
    Raises Corrupt where the stored bytes are wrong: checksums and sizes that the format records are all verified.
    Raises what `pread` raises, too.
    """

    def __init__(self, blob: Blob) -> None:
        """`blob` stays the caller's and must stay open until the pass is closed."""
        self._blob = blob
        self._table: SeekTable | None = None
        self._spare: list[bytearray] = []
        self._running = self._run()

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return self._running

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def table(self) -> SeekTable:
        """The seek table. Raises ValueError before all chunks were taken."""
        if self._table is None:
            raise ValueError("the pass is not over")
        return self._table

    def give_back(self, chunk: bytes | memoryview) -> None:
        """Say that nobody looks at a chunk any more, so that a later one may take its memory. From any thread."""
        buffer = chunk.obj if isinstance(chunk, memoryview) else None
        if isinstance(buffer, bytearray):
            self._spare.append(buffer)

    def close(self) -> None:
        """Stop, wherever the pass is, and let go of threads and memory."""
        self._running.close()

    @abstractmethod
    def _run(self) -> Generator[bytes | memoryview, None, None]:
        """Yield all chunks, then set the table."""


def decode(blob: Blob, compression: Compression) -> Decoding:
    """A pass over `blob`. Raises ValueError if it is PLAIN: there is nothing to decode."""
    if compression is Compression.GZIP:
        return _GzipDecoding(blob)
    if compression is Compression.ZSTD:
        return _ZstdDecoding(blob)
    raise ValueError(f"nothing to decode in a {compression} blob")


class _ZstdDecoding(Decoding):
    def _run(self) -> Generator[bytes | memoryview, None, None]:
        builder = SeekTableBuilder(Compression.ZSTD, _FRAME_SPACING)
        size = 0
        for chunk in gather(self._frames(builder), _CHUNK_SIZE):
            size += len(chunk)
            yield chunk
        self._table = builder.build(self._blob.size, size)

    def _frames(self, builder: SeekTableBuilder) -> Iterator[bytes]:
        cursor = Cursor(self._blob)
        offset = 0
        while (frame := next_frame(cursor)) is not None:
            builder.add(offset, 8 * frame.start, b"")
            for chunk in decode_frame(cursor, frame):
                offset += len(chunk)
                yield chunk


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
        for rest in skip(gather(inflate(cursor), _CHUNK_SIZE), position):
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
