"""Cuts decoded bytes that pass by into spans and hashes each.

Spans begin at seek points where those are not too close; between points far apart, at the largest size. Which points
are used depends on their offsets alone, so the same blob always has the same spans.
"""

import hashlib
from array import array
from collections import deque
from dataclasses import dataclass, field

SPAN_SIZE = 5 << 18
"""Decoded bytes that spans should have, about."""
_SMALLEST = SPAN_SIZE // 2


@dataclass(frozen=True, slots=True)
class Spans:
    """The decoded offsets of spans, and their sha256 digests end to end; no spans where none were asked for."""

    offsets: "array[int]" = field(default_factory=lambda: array("Q"))
    digests: bytes = b""


class SpanHasher:
    """Takes seek points by `add_point` and decoded bytes by `update`, a point before any byte that follows it."""

    def __init__(self, largest: int = SPAN_SIZE) -> None:
        self._largest = largest
        self._points: deque[int] = deque()
        self._offsets = array("Q", [0])
        self._digests: list[bytes] = []
        self._sha = hashlib.sha256()
        self._position = 0

    def add_point(self, offset: int) -> None:
        """Report a place where decoding can start, in the order of offsets."""
        self._points.append(offset)

    def update(self, chunk: bytes | memoryview) -> None:
        """Take the next decoded bytes."""
        view = memoryview(chunk)
        while view:
            end = self._end()
            if end == self._position:
                self._cut()
                continue
            part = view[: end - self._position]
            self._sha.update(part)
            self._position += len(part)
            view = view[len(part) :]

    def finish(self) -> Spans:
        """All spans, at the end of the bytes."""
        if not self._position:
            return Spans()
        return Spans(self._offsets, b"".join([*self._digests, self._sha.digest()]))

    def _end(self) -> int:
        """Where the current span ends, as far as points are known."""
        start = self._offsets[-1]
        while self._points and self._points[0] < start + _SMALLEST:
            self._points.popleft()
        largest = start + self._largest
        return min(self._points[0], largest) if self._points else largest

    def _cut(self) -> None:
        self._digests.append(self._sha.digest())
        self._sha = hashlib.sha256()
        self._offsets.append(self._position)
