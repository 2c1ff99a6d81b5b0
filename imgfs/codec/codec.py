"""The interface of a compression: recognise it, decode from a seek point, or decode all of a blob and find such points.

Most formats are a sequence of frames, each decoded without those before it. `FrameCodec` implements everything for
them from one method, `frames`; their seek points are the starts of frames.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from typing import Protocol, Self

from imgfs.blob import Blob
from imgfs.codec.cursor import READ_SIZE, Cursor
from imgfs.codec.seek_table import SeekPoint, SeekTable, SeekTableBuilder
from imgfs.codec.span_hasher import SpanHasher, Spans
from imgfs.errors import Corrupt

CHUNK_SIZE = 1 << 20
"""Decoded bytes that a decoder yields at a time, at most or about."""
_FIRST_STEP = (
    512  # stored bytes given to a decoder at first: a frame may be tiny, and the rest is handed back
)
_FRAME_SPACING = 128 << 10  # decoded bytes; a table of every tiny frame would outgrow what it saves


class DecodePass(ABC):
    """One pass over `blob`, made by iterating over it once; it can be closed at any moment.

    Yields the decoded bytes in order, in chunks of about `CHUNK_SIZE` bytes, which the caller may keep or give back.
    Raises Corrupt where the stored bytes are wrong: all checksums and sizes that the format records are verified.
    Raises what `pread` raises, too.
    """

    def __init__(self, blob: Blob, *, with_spans: bool) -> None:
        """`blob` stays the caller's and must stay open until the pass is closed."""
        self._blob = blob
        self._with_spans = with_spans
        self._table: SeekTable | None = None
        self._spans = Spans()
        self._spare: list[object] = []  # buffers of chunks that were given back
        self._running = self._run()

    def __iter__(self) -> Iterator[bytes | memoryview]:
        return self._running

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def table(self) -> SeekTable:
        """The seek table. Raises ValueError before the last chunk was taken."""
        if self._table is None:
            raise ValueError("the pass is not over")
        return self._table

    @property
    def spans(self) -> Spans:
        """The spans, once the last chunk was taken; the seek points are the starts of some of them then."""
        return self._spans

    def give_back(self, chunk: bytes | memoryview) -> None:
        """Allow the memory of a chunk to be used for a later one. May be called from any thread."""
        if isinstance(chunk, memoryview):
            self._spare.append(chunk.obj)

    def close(self) -> None:
        """Stop at any point, and release threads, processes and memory."""
        self._running.close()

    @abstractmethod
    def _run(self) -> Generator[bytes | memoryview, None, None]:
        """Yield all chunks, then set the table, and the spans if they are wanted."""


class Codec(ABC):
    """A compression; `imgfs.codec.compression` lists them all. Stateless."""

    @abstractmethod
    def begins(self, start: bytes) -> bool:
        """Whether a blob that starts with these bytes, 512 or as many as it has, is compressed so."""

    @abstractmethod
    def decode_from(self, blob: Blob, point: SeekPoint) -> Iterator[bytes]:
        """Decode from `point` to the end, in chunks of at most `CHUNK_SIZE`. Reads nothing until iterated over.

        Raises Corrupt for anything wrong, and what `pread` raises.
        """

    @abstractmethod
    def decode_pass(self, blob: Blob, *, with_spans: bool = False) -> DecodePass:
        """A pass over all of `blob`, which finds its seek points, and `with_spans` hashes its spans.

        The points and spans of a blob are then the same wherever it is decoded.
        """


class FrameCodec(Codec):
    """A format of frames that are decoded independently of each other."""

    @abstractmethod
    def frames(self, cursor: Cursor) -> Iterator[tuple[int, Iterator[bytes]]]:
        """The stored offset and the decoded bytes of each frame, which the caller takes before the next frame.

        Both iterators raise as `decode_from` does.
        """

    def decode_from(self, blob: Blob, point: SeekPoint) -> Iterator[bytes]:
        for _, chunks in self.frames(Cursor(blob, point.bit // 8)):
            yield from chunks

    def decode_pass(self, blob: Blob, *, with_spans: bool = False) -> DecodePass:
        return _FramePass(blob, self, with_spans=with_spans)


class _FramePass(DecodePass):
    def __init__(self, blob: Blob, codec: FrameCodec, *, with_spans: bool) -> None:
        super().__init__(blob, with_spans=with_spans)
        self._codec = codec

    def _run(self) -> Generator[bytes | memoryview, None, None]:
        hasher = SpanHasher()
        builder = SeekTableBuilder(_FRAME_SPACING, hasher.add_point)
        size = 0
        for chunk in gather(self._chunks(builder), CHUNK_SIZE):
            size += len(chunk)
            if self._with_spans:
                hasher.update(chunk)
            yield chunk
        self._spans = hasher.finish()
        self._table = builder.build(self._blob.size, size, self._spans.offsets if self._with_spans else None)

    def _chunks(self, builder: SeekTableBuilder) -> Iterator[bytes]:
        offset = 0
        for start, chunks in self._codec.frames(Cursor(self._blob)):
            builder.add(offset, 8 * start, b"")
            for chunk in chunks:
                offset += len(chunk)
                yield chunk


class FrameDecoder(Protocol):
    """A decoder of one frame, as `bz2`, `lzma` and `zstd` have them."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def decode_frame(
    cursor: Cursor, decoder: FrameDecoder, name: str, failures: tuple[type[Exception], ...]
) -> Iterator[bytes]:
    """The decoded bytes of the frame at the cursor, which is moved past it; `failures` are what `decoder` raises.

    Raises Corrupt naming the frame by `name`, MemoryError, and what `pread` raises.
    """
    step = _FIRST_STEP
    while not decoder.eof:
        stored = cursor.take(step) if decoder.needs_input else b""
        if decoder.needs_input and not stored:
            raise Corrupt(f"{name}: cut off at offset {cursor.offset}")
        step = min(8 * step, READ_SIZE)
        try:
            chunk = decoder.decompress(stored, CHUNK_SIZE)
        except failures as error:
            if "not enough memory" in str(error):  # as zstd reports it
                raise MemoryError(str(error)) from None
            raise Corrupt(f"{name}: {error} before offset {cursor.offset}") from error
        if chunk:
            yield chunk
    cursor.put_back(len(decoder.unused_data))


def gather(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in chunks of at least `size`, except for the last one; larger chunks are passed on whole."""
    pieces: list[bytes] = []
    held = 0
    for chunk in chunks:
        pieces.append(chunk)
        held += len(chunk)
        if held >= size:
            yield b"".join(pieces)  # of one piece, join copies nothing
            pieces.clear()
            held = 0
    if held:
        yield b"".join(pieces)
