"""Several blobs end to end.

A part is read only when a read reaches into it. Sizes of parts are asked for only as far as a read needs them to find
its place, so a sequential reader never waits for the size of a part that it has not reached.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice
from threading import Lock

from imgfs.blob.blob import MAX_SIZE, Blob
from imgfs.errors import StoreError


class Concatenation(Blob):
    """A blob made of `parts` end to end; closing it closes them."""

    def __init__(self, parts: Sequence[Blob]) -> None:
        self._parts = tuple(parts)
        self._ends: list[int] = []  # of the leading parts whose sizes are known; only grows
        self._lock = Lock()

    @property
    def size(self) -> int:
        for part in self._parts[len(self._ends) :]:
            _ = part.size
        size = self._known_ends()[-1] if self._parts else 0
        if size > MAX_SIZE:
            raise StoreError(f"{size} bytes end to end are more than a file can have")
        return size

    @property
    def known_size(self) -> int | None:
        ends = self._known_ends()
        if len(ends) < len(self._parts):
            return None
        size = ends[-1] if ends else 0
        return size if size <= MAX_SIZE else None

    def pread(self, size: int, offset: int) -> bytes:
        ends = self._known_ends()
        index = bisect_right(ends, offset)
        pieces = []
        for part in islice(self._parts, index, None):
            start = self._known_ends()[index - 1] if index else 0
            piece = part.pread(size, offset - start)
            pieces.append(piece)
            size -= len(piece)
            offset += len(piece)
            if not size:
                break
            _ = part.size  # a short read ended the part, so this is known by now
            index += 1
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        ends = self._known_ends()
        index = bisect_right(ends, offset)
        pieces = []
        for part in islice(self._parts, index, None):
            piece = part.try_pread(size, offset - (ends[index - 1] if index else 0))
            if piece is None:
                return None
            pieces.append(piece)
            size -= len(piece)
            offset += len(piece)
            if not size:
                break
            index += 1
            if index > len(self._known_ends()):
                return None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        for part in self._parts:
            part.close()

    def _known_ends(self) -> list[int]:
        """Ends of all leading parts whose sizes are known by now."""
        if len(self._ends) < len(self._parts):
            with self._lock:
                for part in self._parts[len(self._ends) :]:
                    size = part.known_size
                    if size is None:
                        break
                    self._ends.append((self._ends[-1] if self._ends else 0) + size)
        return self._ends
