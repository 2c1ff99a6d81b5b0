"""Spans: the units in which remote stored bytes are fetched, verified and cached, a digest each.

A span is a part of the decoded bytes, about 1 MiB. Most are decoded alone, from a range of the stored bytes; one that
has no entry is reached only by decoding the spans before it, from the last entry on. Knows nothing of how spans are
decoded. Tried by the tests of `spans`.
"""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from imgfs.digest import Digest
from imgfs.errors import Corrupt

LARGEST_SPAN = 64 << 20
"""Decoded bytes of one span, which is held in memory; chunks of a table of contents may be larger than 1 MiB."""
_ALGORITHMS = {32: "sha256", 48: "sha384", 64: "sha512"}


class SpanTable:
    """The spans of a blob that decodes to `size` bytes.

    `offsets` are where they begin in the decoded bytes, without gaps; `starts` and `ends` the range of stored bytes
    that each takes. `digests` are those of their decoded bytes, 32, 48 or 64 bytes each, end to end. `entries` has a
    byte for each span, 0 if decoding cannot start there; such spans have the range of the entry before. None: all can.
    """

    def __init__(
        self,
        size: int,
        offsets: Sequence[int],
        starts: Sequence[int],
        ends: Sequence[int],
        digests: bytes,
        entries: bytes | None = None,
    ) -> None:
        """Raises Corrupt if that does not fit together."""
        self.size = size
        self._offsets = array("Q", offsets)
        self._starts = array("Q", starts)
        self._ends = array("Q", ends)
        self._digests = digests
        self._entries = entries if entries is not None else b"\1" * len(self._offsets)
        self._digest_size = len(digests) // max(1, len(self._offsets))
        self._check()

    def __len__(self) -> int:
        return len(self._offsets)

    def number_at(self, offset: int) -> int:
        """The number of the span that a decoded offset is in."""
        return bisect_right(self._offsets, offset) - 1

    def start(self, number: int) -> int:
        """The decoded offset of a span."""
        return self._offsets[number]

    def length(self, number: int) -> int:
        """How many bytes a span decodes to."""
        return (self._offsets[number + 1] if number + 1 < len(self) else self.size) - self._offsets[number]

    def stored_range(self, number: int) -> tuple[int, int]:
        """Where the stored bytes of a span begin and end."""
        return self._starts[number], self._ends[number]

    def run(self, number: int) -> range:
        """The spans that are decoded together with this one: from its entry to the next."""
        end = self._entries.find(1, number + 1)
        return range(self._entries.rfind(1, 0, number + 1), end if end >= 0 else len(self))

    def digest(self, number: int) -> Digest:
        """The digest of a span's decoded bytes."""
        start = number * self._digest_size
        raw = self._digests[start : start + self._digest_size]
        return Digest(f"{_ALGORITHMS[self._digest_size]}:{raw.hex()}")

    @property
    def memory(self) -> int:
        """About how many bytes of memory it takes."""
        return len(self) * (3 * 8 + self._digest_size + 1)

    def _check(self) -> None:
        count = len(self)
        if any(len(column) != count for column in (self._starts, self._ends, self._entries)):
            raise Corrupt("spans: columns of different lengths")
        if not count:
            if self.size or self._digests:
                raise Corrupt("spans: there are none")
            return
        if self._digest_size not in _ALGORITHMS or len(self._digests) != count * self._digest_size:
            raise Corrupt(f"spans: {len(self._digests)} bytes of digests for {count}")
        if self._offsets[0] or any(
            not 0 < end - start <= LARGEST_SPAN for start, end in pairwise([*self._offsets, self.size])
        ):
            raise Corrupt("spans: out of order or too large")
        if any(start > end for start, end in zip(self._starts, self._ends, strict=True)):
            raise Corrupt("spans: stored bytes out of order")
        if not self._entries[0]:
            raise Corrupt("spans: the first cannot be decoded")
