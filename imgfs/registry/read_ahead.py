"""Reading ahead for those who read in order: ranges of a blob fetched before they are asked for, in other threads.

For a reader that goes on where an earlier read has ended, what follows is fetched in ranges that grow to 8 MiB, four at
a time, and never more than it has read in this way. Any other read fetches what it asks for.
"""

from collections.abc import Callable
from threading import Condition, Thread

from imgfs.errors import raise_again

_LARGEST = 8 << 20  # bytes of one range
_SMALLEST = 256 << 10
_IN_FLIGHT = 4
_OVERLAP = 256 << 10  # bytes before the end of the last read from which a reader may go on
_STREAMS = 4  # readers in order that are told apart
_READS = 2  # in order, after which a reader is read ahead of


class _Piece:
    """Bytes from `start` to `end` that are being fetched, or were."""

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.data: bytes | None = None
        self.error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.data is not None or self.error is not None


class _Stream:
    """A reader in order: where its last read ended, how many bytes it has read so, and what is fetched for it."""

    def __init__(self, start: int) -> None:
        self.start = self.position = start
        self.reads = 0
        self.pieces: list[_Piece] = []

    @property
    def fetched_to(self) -> int:
        return max(self.pieces[-1].end, self.position) if self.pieces else self.position


class ReadAhead:
    """Reads a blob of `size` bytes by `fetch`, which takes a size and an offset. Safe to use from several threads."""

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._changed = Condition()
        self._streams: list[_Stream] = []  # the most recently used is last
        self._is_closed = False

    def pread(self, size: int, offset: int) -> bytes:
        """The bytes asked for, which lie inside the blob. Raises what `fetch` raises."""
        end = offset + size
        with self._changed:
            stream = self._stream_at(offset)
            stream.reads += 1
            stream.position = max(stream.position, end)
            if stream.reads > _READS:
                self._schedule(stream)
            pieces = [piece for piece in stream.pieces if piece.end > offset and piece.start < end]
        parts, at = [], offset
        for piece in pieces:
            data = self._wait(stream, piece) if piece.start <= at else None
            if data is None:  # it had failed, so this reader tries by itself
                break
            parts.append(data[at - piece.start : end - piece.start])
            at += len(parts[-1])
        if at < end:
            parts.append(self._fetch(end - at, at))
        with self._changed:
            stream.pieces = [piece for piece in stream.pieces if piece.end + _OVERLAP > offset]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Fetch nothing more ahead."""
        with self._changed:
            self._is_closed = True
            self._streams.clear()

    def _stream_at(self, offset: int) -> _Stream:
        for stream in reversed(self._streams):
            # a reader may skip some of what was fetched for it, as what it has already
            if max(stream.start, stream.position - _OVERLAP) <= offset <= stream.fetched_to:
                self._streams.remove(stream)
                break
        else:
            stream = _Stream(offset)
            del self._streams[: max(0, len(self._streams) - _STREAMS + 1)]
        self._streams.append(stream)
        return stream

    def _schedule(self, stream: _Stream) -> None:
        """Begin to fetch what a reader will ask for."""
        progress = stream.position - stream.start
        limit = min(self._size, stream.position + progress)
        step = min(_LARGEST, max(_SMALLEST, progress // 2))
        while sum(piece.end > stream.position for piece in stream.pieces) < _IN_FLIGHT:
            end = min(self._size, stream.fetched_to + step)
            if end > limit or end == stream.fetched_to or self._is_closed:
                break
            piece = self._begin(stream.fetched_to, end)
            if piece is None:
                break
            stream.pieces.append(piece)

    def _begin(self, start: int, end: int) -> _Piece | None:
        """Fetch a range in another thread; None if there are no more threads."""
        piece = _Piece(start, end)
        try:
            Thread(target=self._run, args=(piece,), name="imgfs fetching", daemon=True).start()
        except RuntimeError:
            return None
        return piece

    def _run(self, piece: _Piece) -> None:
        data, failure = None, None
        try:
            data = self._fetch(piece.end - piece.start, piece.start)
        except Exception as error:  # raised where it is waited for; a reader that comes later tries again
            failure = error
        with self._changed:
            piece.data, piece.error = data, failure
            self._changed.notify_all()

    def _wait(self, stream: _Stream, piece: _Piece) -> bytes | None:
        """The bytes of a piece, None if it had failed before. Raises what it fails with meanwhile."""
        with self._changed:
            had_failed = piece.error is not None
            self._changed.wait_for(lambda: piece.is_done)
            if piece.error is not None and piece in stream.pieces:
                stream.pieces.remove(piece)
            if piece.error is not None and not had_failed:
                raise_again(piece.error)
            return piece.data
