"""What a compression is to the rest of imgfs: recognised, decoded from a seek point, or passed over to find those.

Most formats are frames one after another, each decoded without what came before. For them `FrameCodec` derives
everything from where a frame starts and what it decodes to; its seek points are the starts of frames.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from typing import Self

from imgfs.blob import Blob
from imgfs.codec.chunks import gather
from imgfs.codec.compression import Compression
from imgfs.codec.cursor import Cursor
from imgfs.codec.seek_table import SeekPoint, SeekTable, SeekTableBuilder

PASS_CHUNK_SIZE = 1 << 20
"""Bytes; about what a pass yields at a time."""
_FRAME_SPACING = 128 << 10  # decoded bytes; a table of every tiny frame would outgrow what it saves


class Decoding(ABC):
    """A pass over `blob` that runs as it is iterated over, once, and can be closed at any moment.

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
        """Allow the memory of a chunk to be used for a later one. From any thread."""
        buffer = chunk.obj if isinstance(chunk, memoryview) else None
        if isinstance(buffer, bytearray):
            self._spare.append(buffer)

    def close(self) -> None:
        """Stop, wherever the pass is, and release threads, processes and memory."""
        self._running.close()

    @abstractmethod
    def _run(self) -> Generator[bytes | memoryview, None, None]:
        """Yield all chunks, then set the table."""


class Codec(ABC):
    """One compression; all others are in `imgfs.codec.table`. Holds no state."""

    compression: Compression

    @abstractmethod
    def begins(self, start: bytes) -> bool:
        """Whether a blob that starts with these bytes, 512 or all there are, is stored so."""

    @abstractmethod
    def enter(self, blob: Blob, point: SeekPoint) -> Iterator[bytes]:
        """Decode from `point` to the end, in chunks of at most 1 MiB. Nothing is read before the first is taken.

        Raises Corrupt for anything wrong, what `pread` raises too.
        """

    @abstractmethod
    def pass_over(self, blob: Blob) -> Decoding:
        """A pass over all of `blob`, which finds its seek points."""


class FrameCodec(Codec):
    """A format of frames that are decoded independently of each other."""

    @abstractmethod
    def frames(self, cursor: Cursor) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The stored offset and the decoded bytes of each frame; those of one are taken before the next is asked for.

        Raises as `enter` does, from either iterator.
        """

    def enter(self, blob: Blob, point: SeekPoint) -> Iterator[bytes]:
        for _, chunks in self.frames(Cursor(blob, point.bit // 8)):
            yield from chunks

    def pass_over(self, blob: Blob) -> Decoding:
        return _FrameDecoding(blob, self)


class _FrameDecoding(Decoding):
    def __init__(self, blob: Blob, codec: FrameCodec) -> None:
        super().__init__(blob)
        self._codec = codec

    def _run(self) -> Generator[bytes | memoryview, None, None]:
        builder = SeekTableBuilder(self._codec.compression, _FRAME_SPACING)
        size = 0
        for chunk in gather(self._chunks(builder), PASS_CHUNK_SIZE):
            size += len(chunk)
            yield chunk
        self._table = builder.build(self._blob.size, size)

    def _chunks(self, builder: SeekTableBuilder) -> Iterator[bytes]:
        offset = 0
        for start, chunks in self._codec.frames(Cursor(self._blob)):
            builder.add(offset, 8 * start, b"")
            for chunk in chunks:
                offset += len(chunk)
                yield chunk
