"""Where decoding of a compressed blob can start: its seek points.

A table is small enough to keep in memory; the windows that gzip points need are compressed one by one, and read when a
reader starts there. A table is not trusted: it is checked before it is used, and Corrupt if it is wrong.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Set
from itertools import pairwise

import msgspec

from imgfs.blob import Blob, MemoryBlob
from imgfs.codec.zstd_module import pack, unpack
from imgfs.errors import Corrupt

WINDOW_SIZE = 32 * 1024
"""In bytes; how far back deflate data may refer (RFC 1951 2)."""
LARGEST_INTERVAL = 16 << 20
"""Decoded bytes between two points that a random reader may still be made to decode."""
_SHARED_LEVEL = 9
"""The level of zstd for windows that may be sent. They take 6 % less than at level 3; 15 takes six times as long."""


class SeekPoint(msgspec.Struct, frozen=True):
    """A place to start decoding at: the decoded offset, the bit of the stored bytes, what was decoded just before."""

    offset: int
    bit: int
    window: bytes


START = SeekPoint(0, 0, b"")
"""The start of every blob."""


class SeekTable:
    """The seek points of one blob of `stored_size` bytes that decode to `size` bytes.

    The first point is the start of both. `largest_interval` is the most decoded bytes between two points, or
    the last one and the end.
    """

    def __init__(
        self,
        stored_size: int,
        size: int,
        offsets: "array[int]",
        bits: "array[int]",
        window_ends: "array[int]",
        windows: Blob,
    ) -> None:
        """Raises Corrupt if points are not in order or lie outside the blob or its decoded bytes."""
        self.stored_size = stored_size
        self.size = size
        self._offsets = offsets
        self._bits = bits
        self._window_ends = window_ends
        self._windows = windows
        self._check()
        ends = [*offsets[1:], size]
        self.largest_interval = max(end - start for start, end in zip(offsets, ends, strict=True))

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def needs_copy(self) -> bool:
        """Whether points are so far apart that random reads want a decoded copy instead."""
        return self.largest_interval > LARGEST_INTERVAL

    def offset_before(self, offset: int) -> int:
        """The decoded offset of the last point at or before `offset`."""
        return self._offsets[bisect_right(self._offsets, offset) - 1]

    def point_before(self, offset: int) -> SeekPoint:
        """The last point at or before a decoded offset. Raises Corrupt if its window is damaged."""
        index = bisect_right(self._offsets, offset) - 1
        start = self._window_ends[index - 1] if index else 0
        packed = self._windows.pread(self._window_ends[index] - start, start)
        window = unpack(packed, WINDOW_SIZE, "a window of the seek table") if packed else b""
        return SeekPoint(self._offsets[index], self._bits[index], window)

    def points(self) -> Iterator[tuple[int, int, int]]:
        """The decoded offset, the stored bit and the size of the compressed window of each point."""
        sizes = (end - start for start, end in pairwise([0, *self._window_ends]))
        return zip(self._offsets, self._bits, sizes, strict=True)

    @property
    def windows(self) -> Blob:
        """The compressed windows of all points, end to end."""
        return self._windows

    def _check(self) -> None:
        offsets, bits, ends = self._offsets, self._bits, self._window_ends
        first, last = (offsets[0], bits[0]), (offsets[-1], bits[-1])
        if first != (0, 0) or last[0] > self.size or last[1] >= max(1, 8 * self.stored_size):
            raise Corrupt("seek table has points outside the blob")
        if any(a >= b for values in (offsets, bits) for a, b in pairwise(values)):
            raise Corrupt("seek table has points out of order")
        if any(a > b for a, b in pairwise(ends)) or ends[-1] > self._windows.size:
            raise Corrupt("seek table has windows out of order")


class SeekTableBuilder:
    """Collects the points of a blob in order, and keeps those that are worth it."""

    def __init__(self, spacing: int = 1, found: Callable[[int], object] = lambda offset: None) -> None:
        """`spacing` is the least number of decoded bytes between two points; `found` gets the offset of each."""
        self._spacing = spacing
        self._found = found
        self._offsets, self._bits = array("Q", [0]), array("Q", [0])
        self._window_ends = array("Q", [0])
        self._windows = bytearray()

    def add(self, offset: int, bit: int, window: bytes) -> None:
        """Add a point unless it is too near the one before; see SeekPoint for what the arguments are."""
        if offset < self._offsets[-1] + self._spacing or bit <= self._bits[-1]:
            return
        if window:
            self._windows += pack(window)
        self._offsets.append(offset)
        self._bits.append(bit)
        self._window_ends.append(len(self._windows))
        self._found(offset)

    def build(self, stored_size: int, size: int, wanted: Iterable[int] | None = None) -> SeekTable:
        """The table, once both sizes are known; of the points at `wanted` offsets, if given, and the start."""
        if wanted is not None:
            self._keep({0, *wanted})
        while len(self._offsets) > 1 and self._offsets[-1] >= size:
            for values in (self._offsets, self._bits, self._window_ends):
                values.pop()
        windows = MemoryBlob(bytes(self._windows))
        return SeekTable(stored_size, size, self._offsets, self._bits, self._window_ends, windows)

    def _keep(self, wanted: Set[int]) -> None:
        columns = list(zip(self._offsets, self._bits, self._window_ends, strict=True))
        windows, start = bytearray(), 0
        self._offsets, self._bits, self._window_ends = array("Q"), array("Q"), array("Q")
        for offset, bit, end in columns:
            if offset in wanted:
                window = bytes(self._windows[start:end])
                windows += pack(unpack(window, WINDOW_SIZE, "a window"), _SHARED_LEVEL) if window else b""
                self._offsets.append(offset)
                self._bits.append(bit)
                self._window_ends.append(len(windows))
            start = end
        self._windows = windows
