"""The decoded view of a blob that has a seek table: good for reading anywhere.

A few decoders are kept where reads have left them. A read goes to the one that gets there with the least
decoding; where starting at a seek point is quicker, a new one starts there and the one that was
not used for longest goes. So a sequential reader decodes everything once, and several of them do not get in
each other's way.
"""

from threading import Lock

from imgfs.blob import Blob
from imgfs.codec.run import Run
from imgfs.codec.seek_table import SeekTable
from imgfs.codec.table import CODECS
from imgfs.codec.turns import Place, Turns
from imgfs.errors import Corrupt

_RUNS = 3
_KEPT_SIZE = 2 << 20  # decoded bytes kept by each run
_START_COST = 256 << 10  # decoded bytes that may be skipped in the time a new run takes to start


def open_random(blob: Blob, table: SeekTable) -> Blob:
    """The decoded bytes of `blob`, which closes with the view; it holds at most about 10 MiB.

    Raises Corrupt if the blob is shorter than the table says, and from reads that cannot be made correctly.
    """
    if blob.size < table.stored_size:
        raise Corrupt(f"compressed blob is {blob.size} bytes, its seek table says {table.stored_size}")
    return _RandomBlob(blob, table)


class _SharedRun:
    """A run, whose turn it is to use it, and how far those in the line will bring it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.turns = Turns()
        self.reach = run.position


class _RandomBlob(Blob):
    def __init__(self, blob: Blob, table: SeekTable) -> None:
        self._blob = blob
        self._table = table
        self._lock = Lock()  # of the list only; held for no longer than choosing takes
        self._runs: list[_SharedRun] = []  # the one used last is last

    @property
    def size(self) -> int:
        return self._table.size

    def pread(self, size: int, offset: int) -> bytes:
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        while True:
            shared, place = self._choose(size, offset)
            with shared.turns.taking(place):
                # while other threads had it, it may have moved too far
                if shared.run.failed or offset < shared.run.kept_from:
                    continue
                data = shared.run.read(size, offset)
            if len(data) < size:
                raise Corrupt(f"compressed blob ends at {offset + len(data)} of {self.size} decoded bytes")
            return data

    def try_pread(self, size: int, offset: int) -> bytes | None:
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        for shared in reversed(self._runs):
            if shared.run.holds(size, offset) and (place := shared.turns.try_join()):
                with shared.turns.taking(place):
                    # until it was taken, it may have moved too far
                    return shared.run.read(size, offset) if shared.run.holds(size, offset) else None
        return None

    def close(self) -> None:
        with self._lock:
            self._runs.clear()
            self._blob.close()

    def _choose(self, size: int, offset: int) -> tuple[_SharedRun, Place]:
        """The best run for a read, started if need be, and a place in the line of those who use it."""
        with self._lock:
            candidates = [
                (cost, index)
                for index, shared in enumerate(self._runs)
                if (cost := self._cost(shared, offset)) is not None
            ]
            shared = self._runs.pop(min(candidates)[1]) if candidates else _SharedRun(self._start(offset))
            self._runs.append(shared)
            del self._runs[:-_RUNS]
            shared.reach = max(shared.reach, offset + size)
            return shared, shared.turns.join()

    def _cost(self, shared: _SharedRun, offset: int) -> int | None:
        """Bytes that a run must decode to get to `offset`; None if it cannot, or a seek point is nearer."""
        run, ahead = shared.run, max(shared.reach, shared.run.position)
        if run.failed or offset < max(run.kept_from, ahead - _KEPT_SIZE):
            return None
        cost = max(0, offset - ahead)
        from_point = offset - self._table.offset_before(offset)
        return cost if cost <= from_point + _START_COST else None

    def _start(self, offset: int) -> Run:
        point = self._table.point_before(offset)
        chunks = CODECS[self._table.compression].enter(self._blob, point)
        return Run(chunks, point.offset, _KEPT_SIZE)
