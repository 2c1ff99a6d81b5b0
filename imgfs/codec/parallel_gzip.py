"""A whole gzip blob decoded by rapidgzip, on several cores where there are, seek points included.

rapidgzip is fast and finds the seek points, but it has no opinion of its own that counts: it calls some
cut-off streams complete and refuses trailing garbage. So whatever it stumbles over is Unsure here, and
the caller decodes again with `inflate`, which says what is the matter.
"""

import os
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from rapidgzip import RapidgzipFile

from imgfs.blob import Blob, BlobStream, SharedBlob
from imgfs.codec.gzip_index import IndexSink
from imgfs.codec.seek_table import SeekTableBuilder

CHUNK_SIZE = 1 << 20
_CHUNKS_HELD = 20  # by rapidgzip, at most
_MOST_HELD = 320 << 20  # decoded bytes that it may hold at the fast pace


class Unsure(Exception):
    """rapidgzip failed, or its result cannot be relied on."""


class TooDense(Exception):
    """The data decodes to so many times its size that this pace would take too much memory."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How rapidgzip goes about it.

    It holds what about 20 chunks of `chunk_size` stored bytes decode to, up to 20 times that. Seek points lie
    at most a quarter more than `chunk_size` decoded bytes, and one deflate block, apart.
    """

    chunk_size: int
    workers: int
    any_density: bool


def fast() -> Pace:
    """One core is left to whoever takes the chunks; a worker more costs memory."""
    return Pace(5 << 19, max(1, min(4, len(os.sched_getaffinity(0)) - 1)), any_density=False)


def frugal() -> Pace:
    """For data that is nearly all repetition, which one core decodes fast enough."""
    return Pace(1 << 19, 1, any_density=True)


class ParallelGzip:
    """One run of rapidgzip over `blob`, which stays the caller's. A context manager; must be closed."""

    def __init__(self, blob: Blob, pace: Pace, spare: list[bytearray] | None = None) -> None:
        """`spare` is buffers of `CHUNK_SIZE` to decode into, taken as there are any.

        Raises Unsure if it does not look like gzip to rapidgzip.
        """
        self._stream = _Stream(blob)
        self._pace = pace
        self._spare = [] if spare is None else spare
        try:
            self._reader = RapidgzipFile(
                self._stream, parallelization=pace.workers, chunk_size=pace.chunk_size
            )
        except Exception as error:
            raise self._unsure(error) from error
        # one that is still open when the interpreter ends aborts it, so exiting closes those that were left
        self._close = weakref.finalize(self, self._reader.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()
        self._stream.close()

    def chunks(self) -> Iterator[memoryview]:
        """The decoded bytes in chunks of `CHUNK_SIZE`. Raises Unsure, TooDense, and what `pread` raises."""
        position = 0
        marks = deque([(0, 0)])  # stored and decoded offsets that belong together, about
        while True:
            buffer = self._spare.pop() if self._spare else bytearray(CHUNK_SIZE)
            try:
                size = self._reader.readinto(buffer)
            except Exception as error:
                raise self._unsure(error) from error
            if self._stream.failure is not None:
                raise self._stream.failure
            if not size:
                return
            yield memoryview(buffer)[:size]
            position += size
            marks.append((self._stream.furthest, position))
            while marks[0][0] < self._stream.furthest - _CHUNKS_HELD * self._pace.chunk_size:
                marks.popleft()
            if position - marks[0][1] > _MOST_HELD and not self._pace.any_density:
                raise TooDense

    def export(self, builder: SeekTableBuilder, size: int) -> None:
        """Give `builder` all seek points once every chunk was taken. Raises Unsure if they do not add up."""
        sink = IndexSink(builder)
        try:
            self._reader.export_index(sink)
        except Exception as error:
            raise self._unsure(error) from error
        if self._stream.failure is not None:
            raise self._stream.failure
        if not sink.complete or sink.size != size:
            raise Unsure("the index does not fit the data")

    def _unsure(self, error: Exception) -> Exception:
        """What an exception that came out of rapidgzip stands for."""
        return self._stream.failure or Unsure(str(error))


class _Stream(BlobStream):
    """What rapidgzip reads: ends where reading fails, for its threads handle no exceptions."""

    def __init__(self, blob: Blob) -> None:
        super().__init__(SharedBlob(blob).share())  # closing a share leaves the blob open
        self.failure: Exception | None = None
        self.furthest = 0

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer is 3.12
        if self.failure is not None:
            return 0
        try:
            size = super().readinto(buffer)
        except Exception as error:
            self.failure = error
            return 0
        self.furthest = max(self.furthest, self.tell())
        return size
