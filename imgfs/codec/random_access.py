"""The decoded view of a blob that has a seek table: good for reading anywhere.

A few decoders are kept where reads have left them. A read goes to the one that reaches its offset with the least
decoding; where starting at a seek point is quicker, a new decoder starts there and replaces the least recently used.
So a sequential reader decodes everything once, and several readers do not disturb each other.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from imgfs.blob import Blob
from imgfs.codec.codec import Codec
from imgfs.codec.compression import Compression
from imgfs.codec.forward import DecodeWindow
from imgfs.codec.seek_table import SeekTable
from imgfs.errors import Corrupt

_DECODERS = 3
_KEPT_SIZE = 2 << 20  # decoded bytes kept by each decoder
_START_COST = 256 << 10  # decoded bytes that may be skipped in the time a new decoder takes to start


def open_random(blob: Blob, compression: Compression, table: SeekTable) -> "RandomBlob":
    """The decoded bytes of `blob`, which closes with the view; it holds at most about 10 MiB.

    Raises Corrupt if the blob is shorter than the table says, and from reads that cannot be made correctly.
    """
    if blob.size < table.stored_size:
        raise Corrupt(f"compressed blob is {blob.size} bytes, its seek table says {table.stored_size}")
    return RandomBlob(blob, compression.codec, table)


class Ticket:
    """A position in the queue of a FairLock."""

    def __init__(self) -> None:
        self.waiting = Lock()  # held until it is this ticket's turn


class FairLock:
    """A lock that threads get in the order in which they asked for it.

    Readers of a stream ask in the order of their offsets, nearly; in another order, a decoder would have to start
    again for each read that came too late.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._held = False
        self._queue: deque[Ticket] = deque()

    def join(self) -> Ticket:
        """Join the queue; the ticket must be used with `holding`."""
        ticket = Ticket()
        with self._lock:
            if self._held:
                ticket.waiting.acquire()
                self._queue.append(ticket)
            self._held = True
        return ticket

    def try_join(self) -> Ticket | None:
        """A ticket for a lock that is free, else None."""
        with self._lock:
            if self._held:
                return None
            self._held = True
        return Ticket()

    @contextmanager
    def holding(self, ticket: Ticket) -> Iterator[None]:
        """Wait for the ticket's turn, and release the lock afterwards."""
        ticket.waiting.acquire()
        try:
            yield
        finally:
            with self._lock:
                if self._queue:
                    self._queue.popleft().waiting.release()
                else:
                    self._held = False


class _SharedDecoder:
    """A decoder, the lock of the threads that use it, and the offset that the reads in the queue will take it to."""

    def __init__(self, window: DecodeWindow) -> None:
        self.window = window
        self.lock = FairLock()
        self.reach = window.position


class RandomBlob(Blob):
    """The decoded bytes of a blob, read at random; `decoded` is how many were decoded for that by now."""

    def __init__(self, blob: Blob, codec: Codec, table: SeekTable) -> None:
        self._blob = blob
        self._codec = codec
        self._table = table
        self._lock = Lock()  # of the list only; held for no longer than choosing takes
        self._decoders: list[_SharedDecoder] = []  # the most recently used is last
        self.decoded = 0

    @property
    def size(self) -> int:
        return self._table.size

    def pread(self, size: int, offset: int) -> bytes:
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        while True:
            decoder, ticket = self._choose(size, offset)
            with decoder.lock.holding(ticket):
                # while other threads used it, it may have moved too far
                if decoder.window.failed or offset < decoder.window.kept_from:
                    continue
                before = decoder.window.position
                data = decoder.window.read(size, offset)
                self.decoded += decoder.window.position - before
            if len(data) < size:
                raise Corrupt(f"compressed blob ends at {offset + len(data)} of {self.size} decoded bytes")
            return data

    def try_pread(self, size: int, offset: int) -> bytes | None:
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        for decoder in reversed(self._decoders):
            window = decoder.window
            if window.holds(size, offset) and (ticket := decoder.lock.try_join()):
                with decoder.lock.holding(ticket):
                    # before the lock was taken, it may have moved too far
                    return window.read(size, offset) if window.holds(size, offset) else None
        return None

    def close(self) -> None:
        with self._lock:
            self._decoders.clear()
            self._blob.close()

    def _choose(self, size: int, offset: int) -> tuple[_SharedDecoder, Ticket]:
        """The best decoder for a read, started if need be, and a ticket for it."""
        with self._lock:
            candidates = [
                (cost, index)
                for index, decoder in enumerate(self._decoders)
                if (cost := self._cost(decoder, offset)) is not None
            ]
            best = self._decoders.pop(min(candidates)[1]) if candidates else None
            decoder = best or _SharedDecoder(self._start(offset))
            self._decoders.append(decoder)
            del self._decoders[:-_DECODERS]
            decoder.reach = max(decoder.reach, offset + size)
            return decoder, decoder.lock.join()

    def _cost(self, decoder: _SharedDecoder, offset: int) -> int | None:
        """Bytes that a decoder must decode to reach `offset`; None if it cannot, or a seek point is nearer."""
        window = decoder.window
        reach = max(decoder.reach, window.position)
        if window.failed or offset < max(window.kept_from, reach - _KEPT_SIZE):
            return None
        cost = max(0, offset - reach)
        from_point = offset - self._table.offset_before(offset)
        return cost if cost <= from_point + _START_COST else None

    def _start(self, offset: int) -> DecodeWindow:
        point = self._table.point_before(offset)
        return DecodeWindow(self._codec.decode_from(self._blob, point), point.offset, _KEPT_SIZE)
