"""The decoded view of a blob whose stored bytes are remote: fetched, verified and cached span by span.

No byte is shown that was not compared with the digest of its span. What is in the cache is not fetched. A span is
fetched by one read of exactly its stored bytes; of spans that are decoded together, all those before the wanted one are
decoded, verified and cached with it. For a reader in order, spans are decoded ahead in another thread.
"""

import logging
from array import array
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from threading import Condition, Lock, Thread
from typing import Protocol

from imgfs.blob import Blob
from imgfs.blob.wrappers import WrappedBlob
from imgfs.codec.codec import Codec
from imgfs.codec.seek_table import SeekPoint, SeekTable
from imgfs.codec.span_cache import SpanCache
from imgfs.codec.span_table import LARGEST_SPAN, SpanTable
from imgfs.errors import Corrupt, raise_again

__all__ = [
    "PlainDecoder",
    "PointDecoder",
    "SpanBlob",
    "SpanCache",
    "SpanDecoder",
    "SpanStats",
    "SpanTable",
    "plain_spans",
    "spans_of",
]

logger = logging.getLogger("imgfs")

# stored bytes of spans that are decoded together, up to which they are fetched at once
_LARGEST_FETCH = 4 << 20
_AHEAD = 4  # spans decoded ahead of a reader
_STREAMS = 4  # readers in order that are told apart
_ADVANCES = 2  # steps to the next span, after which a reader is read ahead of
_CHAINS = 3  # decoders that are kept in the middle of spans decoded together


class SpanDecoder(Protocol):
    """Decodes spans of one kind of blob. Safe to use from several threads."""

    def prepare(self, number: int) -> None:
        """Begin to fetch what decoding a span takes beside its stored bytes, which are fetched meanwhile."""

    def decode(self, number: int, stored: Blob) -> Iterator[bytes]:
        """The decoded bytes from the start of a span with an entry on, in chunks; the caller stops when it has enough.

        `stored` has at its offsets what the whole blob has there, at least in the span's stored range. Raises Corrupt,
        and what reading raises.
        """


class SpanStats(Protocol):
    """Counts what becomes of the spans of a blob, which is called by its digest."""

    def count_spans(self, blob: str, what: str, amount: int = 1) -> None:
        """Count `what`: spans `fetched`, found in the cache (`from_cache`), `verified`. From any thread."""


class _Uncounted:
    def count_spans(self, blob: str, what: str, amount: int = 1) -> None:
        pass


UNCOUNTED: SpanStats = _Uncounted()


class PointDecoder:
    """Decodes spans that begin at the seek points of `seek_table`."""

    def __init__(self, codec: Codec, seek_table: SeekTable, spans: SpanTable) -> None:
        self._codec = codec
        self._seek_table = seek_table
        self._spans = spans
        self._fetched: dict[int, Future[SeekPoint]] = {}  # points whose windows are being fetched

    def prepare(self, number: int) -> None:
        if self._seek_table.windows.is_remote:
            self._fetched[number] = fetched = Future[SeekPoint]()
            try:
                Thread(target=self._fetch, args=(number, fetched), name="imgfs fetching", daemon=True).start()
            except RuntimeError:  # no more threads: it is fetched when it is needed
                self._fetched.pop(number, None)

    def decode(self, number: int, stored: Blob) -> Iterator[bytes]:
        fetched = self._fetched.pop(number, None)
        return self._codec.decode_from(stored, self._point(number) if fetched is None else fetched.result())

    def _point(self, number: int) -> SeekPoint:
        return self._seek_table.point_before(self._spans.start(number))

    def _fetch(self, number: int, fetched: "Future[SeekPoint]") -> None:
        try:
            fetched.set_result(self._point(number))
        except Exception as error:  # raised where it is needed
            fetched.set_exception(error)


def spans_of(seek_table: SeekTable, offsets: Sequence[int], digests: bytes) -> SpanTable:
    """The table of spans at `offsets` with these digests; those at a seek point can be decoded alone.

    Raises Corrupt if that does not fit together.
    """
    points = {offset: bit for offset, bit, _ in seek_table.points()}
    entries = bytes(offset in points for offset in offsets)
    starts, ends = array("Q"), array("Q")
    # where the stored bytes of the run end, and its spans after the entry
    end, waiting = seek_table.stored_size, 0
    for offset in reversed(offsets):
        bit = points.get(offset)
        waiting += 1
        if bit is not None:
            starts.extend([bit // 8] * waiting)
            ends.extend([end] * waiting)
            end, waiting = -(-bit // 8), 0
    starts.reverse()
    ends.reverse()
    return SpanTable(seek_table.size, offsets, starts, ends, digests, entries)


def plain_spans(size: int, offsets: Sequence[int], digests: bytes) -> SpanTable:
    """The table of spans at `offsets` of a blob of `size` bytes that is not compressed. Raises Corrupt."""
    return SpanTable(size, offsets, offsets, [*offsets[1:], size][: len(offsets)], digests)


class PlainDecoder:
    """Returns the spans of a blob that is not compressed."""

    def __init__(self, spans: SpanTable) -> None:
        self._spans = spans

    def prepare(self, number: int) -> None:
        pass

    def decode(self, number: int, stored: Blob) -> Iterator[bytes]:
        start, end = self._spans.stored_range(number)
        yield stored.pread(end - start, start)


class SpanBlob(Blob):
    """The decoded bytes of `stored`, which closes with it; `name` is what errors call it, `digest` what `stats` does.

    Reads raise Corrupt naming blob and span for bytes that are not their span's, and what reading `stored` raises.
    """

    def __init__(
        self,
        stored: Blob,
        table: SpanTable,
        decoder: SpanDecoder,
        cache: SpanCache,
        name: str,
        *,
        stats: SpanStats = UNCOUNTED,
        digest: str = "",
    ) -> None:
        self._stored = stored
        self._table = table
        self._decoder = decoder
        self._cache = cache
        self._name = name
        self._stats = stats
        self._digest = digest
        self._lock = Lock()  # of what follows; never held while reading
        self._changed = Condition(self._lock)
        self._chains: list[_Chain] = []  # the most recently used is last
        self._streams: list[_Stream] = []  # the most recently used is last
        self._threads = 0  # that decode ahead
        self._fetched: set[int] = set()
        """The spans that this object has fetched. Where all come from the cache, nothing is fetched ahead."""
        self._is_closed = False

    @property
    def size(self) -> int:
        return self._table.size

    def pread(self, size: int, offset: int) -> bytes:
        pieces = []
        for number, start, end in self._parts(size, offset):
            data = self._span(number)
            if len(data) != self._table.length(number):  # it came from a blob that records another size
                raise Corrupt(f"{self._named(number)}: failed to verify, it has {len(data)} bytes")
            pieces.append(data if end - start == len(data) else data[start:end])
            self._advance(number)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        pieces = []
        for number, start, end in self._parts(size, offset):
            data = self._cache.recent(self._table.digest(number))
            if data is None or len(data) != self._table.length(number):
                return None
            pieces.append(data[start:end])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        with self._lock:
            is_closed, self._is_closed = self._is_closed, True
            for stream in self._streams:
                self._forget_wanted(stream)
            is_read = self._threads > 0
        if not is_closed and not is_read:
            self._stored.close()

    def _parts(self, size: int, offset: int) -> Iterator[tuple[int, int, int]]:
        """The spans that a read touches, and from where to where in each."""
        end = min(offset + size, self.size)
        number = self._table.number_at(offset) if offset < end else 0
        while offset < end:
            start, length = self._table.start(number), self._table.length(number)
            stop = min(end - start, length)
            yield number, offset - start, stop
            offset = start + stop
            number += 1

    def _span(self, number: int) -> bytes:
        data = self._cache.recent(self._table.digest(number))
        if data is not None:
            return data
        # stored bytes are read in order: what is read ahead of this reader is waited for
        with self._changed:
            self._changed.wait_for(lambda: not any(number in stream.scheduled for stream in self._streams))
        return self._get(number)

    def _get(self, number: int) -> bytes:
        return self._cache.get(self._table.digest(number), lambda: self._find(number))

    def _find(self, number: int) -> bytes:
        """A span from the cache, else fetched."""
        found = self._find_kept(number)
        if found is not None:
            return found
        run = self._table.run(number)
        if len(run) > 1:
            return self._follow(run, number)
        start, end = self._table.stored_range(number)
        self._decoder.prepare(number)
        stored = self._fetch(start, end) if end - start <= LARGEST_SPAN else _Until(self._stored, end)
        data = next(self._decoded(run, stored))
        return self._verified(number, data)

    def _find_kept(self, number: int) -> bytes | None:
        data = self._cache.find(self._table.digest(number), self._table.length(number))
        if data is not None:
            self._count("from_cache")
            self._count("verified")
        return data

    def _fetch(self, start: int, end: int) -> Blob:
        stored = self._stored.pread(end - start, start)
        if len(stored) < end - start:
            raise Corrupt(f"{self._name}: stored bytes end at {start + len(stored)}, before {end}")
        return _Excerpt(stored, start)

    def _follow(self, run: range, number: int) -> bytes:
        """A span out of several that are decoded together, by a decoder that goes on where it was left.

        Where one is on its way there, its outcome is waited for, as all before the span has to be decoded in any case.
        """
        while True:
            with self._changed:
                chain = self._chain(run, number)
                if not chain.is_busy:
                    chain.is_busy = True
                    break
                self._wait_for_step(chain)
            data = self._cache.recent(self._table.digest(number)) or self._find_kept(number)
            if data is not None:
                return data
        try:
            data = self._go_on(chain, number)
        except BaseException as error:
            chain.error = error
            raise
        finally:
            with self._changed:
                self._chains.remove(chain)
                chain.is_busy = False
                if chain.error is None and chain.number < run.stop:
                    self._chains.append(chain)
                idle = [each for each in self._chains if not each.is_busy]
                for each in idle[:-_CHAINS]:
                    self._chains.remove(each)
                self._changed.notify_all()
        return data

    def _wait_for_step(self, chain: "_Chain") -> None:
        """Wait until a busy decoder has come past another span, or has stopped. Raises what stopped it."""
        at = chain.number
        self._changed.wait_for(lambda: not chain.is_busy or chain.number != at)
        if chain.error is not None:
            raise_again(chain.error)

    def _go_on(self, chain: "_Chain", number: int) -> bytes:
        """Decode to the end of a span; all before it are verified and kept, too."""
        if chain.spans is None:
            start, end = self._table.stored_range(chain.run.start)
            is_small = end - start <= _LARGEST_FETCH
            stored = self._fetch(start, end) if is_small else _Until(self._stored, end)
            chain.spans = self._decoded(chain.run, stored)
        data = b""
        while chain.number <= number:
            data = self._verified(chain.number, next(chain.spans))
            with self._changed:
                chain.number += 1
                self._changed.notify_all()
        return data

    def _chain(self, run: range, number: int) -> "_Chain":
        """The decoder that is nearest before a span, a new one if there is none."""
        near = [chain for chain in self._chains if chain.run == run and chain.number <= number]
        if near:
            return max(near, key=lambda chain: (chain.number, not chain.is_busy))
        self._chains.append(_Chain(run))
        return self._chains[-1]

    def _decoded(self, run: range, stored: Blob) -> Generator[bytes, None, None]:
        """The decoded bytes of each span of a run, not yet verified; fewer of one where the stored bytes end."""
        chunks = self._decoder.decode(run.start, stored)
        rest = b""
        for number in run:
            pieces, missing = [rest], self._table.length(number) - len(rest)
            try:
                while missing > 0 and (chunk := next(chunks, None)) is not None:
                    pieces.append(chunk)
                    missing -= len(chunk)
            except Corrupt as error:
                raise Corrupt(f"{self._named(number)}: {error}") from error
            data = b"".join(pieces)
            rest = data[self._table.length(number) :]
            yield data[: self._table.length(number)] if rest else data

    def _verified(self, number: int, data: bytes) -> bytes:
        """The decoded bytes of a span, compared with its digest and kept."""
        digest = self._table.digest(number)
        self._count("fetched")
        if len(data) != self._table.length(number) or not digest.is_of(data):
            raise Corrupt(f"{self._named(number)}: failed to verify, it does not decode to {digest}")
        self._count("verified")
        self._cache.keep(digest, data)
        self._fetched.add(number)
        return data

    def _named(self, number: int) -> str:
        return f"{self._name}, span at {self._table.start(number)}"

    def _count(self, what: str) -> None:
        self._stats.count_spans(self._digest, what)

    def _advance(self, number: int) -> None:
        """Have the next spans decoded ahead if a reader has come here in order."""
        with self._lock:
            stream = next((s for s in reversed(self._streams) if s.number in (number, number - 1)), None)
            if stream is None:
                self._streams.append(_Stream(number))
                for old in self._streams[:-_STREAMS]:
                    self._forget_wanted(old)
                del self._streams[:-_STREAMS]
                return
            if stream.number == number:
                return
            stream.number = number
            stream.advances += 1
            if stream.advances < _ADVANCES or number not in self._fetched or self._is_closed:
                return
            first = max(stream.wanted_to, number + 1)
            stream.wanted_to = min(number + 1 + min(_AHEAD, stream.advances), len(self._table))
            scheduled = set().union(*(each.scheduled for each in self._streams))
            stream.wanted.extend(each for each in range(first, stream.wanted_to) if each not in scheduled)
            if not stream.wanted or stream.is_ahead:
                return
            stream.is_ahead = True
            self._threads += 1
        try:
            Thread(target=self._run_ahead, args=(stream,), name="imgfs decoding ahead", daemon=True).start()
        except RuntimeError:  # no more threads: the reader decodes by itself
            with self._lock:
                stream.is_ahead = False
                self._threads -= 1
                self._forget_wanted(stream)

    def _forget_wanted(self, stream: "_Stream") -> None:
        stream.wanted.clear()
        self._changed.notify_all()

    def _run_ahead(self, stream: "_Stream") -> None:
        while True:
            with self._lock:
                if not stream.wanted:
                    stream.is_ahead = False
                    self._threads -= 1
                    is_last = self._is_closed and not self._threads
                    break
                stream.decoding = stream.wanted.popleft()
            try:
                self._get(stream.decoding)
            except Exception as error:  # raised again where it is read
                logger.debug("%s: not read ahead: %s", self._name, error)
            with self._changed:
                stream.decoding = None
                self._changed.notify_all()
        if is_last:
            self._stored.close()


class _Stream:
    """A reader in order: the span it is in, how often it went on to the next, and what is decoded ahead of it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.advances = 0
        self.wanted: deque[int] = deque()
        self.wanted_to = 0  # the first that is not wanted yet
        self.decoding: int | None = None
        self.is_ahead = False  # whether a thread decodes

    @property
    def scheduled(self) -> set[int]:
        """What is wanted, and what is being decoded."""
        return {*self.wanted, *(() if self.decoding is None else (self.decoding,))}


class _Chain:
    """A decoder in the middle of spans that are decoded together, before the span `number`; `error` ended it."""

    def __init__(self, run: range) -> None:
        self.run = run
        self.spans: Iterator[bytes] | None = None
        self.number = run.start
        self.is_busy = False
        self.error: BaseException | None = None


class _Excerpt(Blob):
    """Bytes of a blob from `start` on, at the offsets that they have there."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._start = start

    @property
    def size(self) -> int:
        return self._start + len(self._data)

    def pread(self, size: int, offset: int) -> bytes:
        if offset < self._start:
            raise Corrupt(f"stored bytes at {offset} are not of this span")
        return self._data[offset - self._start : offset - self._start + size]


class _Until(WrappedBlob[Blob]):
    """A blob up to the offset `end`."""

    def __init__(self, blob: Blob, end: int) -> None:
        super().__init__(blob)
        self._end = end

    @property
    def size(self) -> int:
        return self._end

    def pread(self, size: int, offset: int) -> bytes:
        size = min(size, self._end - offset)
        return super().pread(size, offset) if size > 0 else b""
