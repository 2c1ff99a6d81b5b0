"""Which entries of layers are asked for, found by the columns that leave the fewest to look at.

A text in names is looked for in all those of a layer at once, as fast as memory is read; what few entries have in
common, by the number of their kind; sizes and times by the blocks that may have them. Every entry that is found so is
then compared with all that is asked. Whether it can be seen in an image is not known here.
Tried by the tests of patterns and of `imgfs locate`.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from imgfs.locate.layer_columns import LayerColumns
from imgfs.locate.pattern import Pattern
from imgfs.locate.place import BLOCK, DIGEST_SIZE, LINKED, UNSEEN, Kind

_EMPTY = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
_MOST = 1 << 64

Range = tuple[int, int]
"""The least and the greatest value."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked: all of it has to be so of an entry.

    `kind` says whether a kind of entries is asked for. `size` is in bytes and is that of regular files alone; `mtime`
    is in nanoseconds; `digest` is the sha256 digest of the content.
    """

    pattern: Pattern | None = None
    kind: Callable[[Kind], bool] | None = None
    size: Range | None = None
    mtime: Range | None = None
    digest: bytes | None = None

    def candidates(self, layer: LayerColumns) -> Iterator[int]:
        """The entries of a layer that may be what is asked, each once.

        The hard links to what only lower layers have are among them if all else is so.
        """
        pattern = self.pattern
        is_named = pattern is not None and pattern.literal and self.digest is None
        for entry in _named(layer, pattern) if pattern and is_named else self._in_layer(layer):
            if not entry or layer.kind(entry).flags & UNSEEN:
                continue
            if (layer.kind(entry).flags & LINKED or self.has(layer, entry)) and self.is_called(layer, entry):
                yield entry

    def is_called(self, layer: LayerColumns, entry: int) -> bool:
        """Whether the name or path of an entry is what is asked."""
        pattern = self.pattern
        if pattern is None:
            return True
        name = layer.name(entry) if pattern.of_name else b"/" + layer.path(entry)
        return pattern.matches(os.fsdecode(name))

    def has(self, layer: LayerColumns, entry: int) -> bool:
        """Whether all that is asked is so of an entry, but for its name."""
        if self.size is not None and not self.size[0] <= layer.sizes[entry] <= self.size[1]:
            return False
        if self.mtime is not None and not self.mtime[0] <= layer.mtimes[entry] <= self.mtime[1]:
            return False
        kind = layer.kind(entry)
        if (self.size is not None or self.digest is not None) and not stat.S_ISREG(kind.mode):
            return False
        if self.digest is not None:
            has_it = layer.sizes[entry] == 0 if self.digest == _EMPTY else layer.digest(entry) == self.digest
            if not has_it:
                return False
        return self.kind is None or self.kind(kind)

    def _in_layer(self, layer: LayerColumns) -> Iterator[int]:
        linked = sorted(layer.links) if layer.place.facts & LINKED else []
        found = self._chosen(layer)
        if not linked:
            yield from found
            return
        seen = set(linked)
        yield from linked
        yield from (entry for entry in found if entry not in seen)

    def _chosen(self, layer: LayerColumns) -> Iterable[int]:
        """Entries among which are all those that have what is asked."""
        if self.digest is not None and self.digest != _EMPTY:
            return _with_digest(layer, self.digest)
        size = (0, 0) if self.digest is not None else self.size
        if size is None and self.mtime is None:
            return self._of_kind(layer) if self.kind is not None else range(1, len(layer))
        blocks = [
            number
            for number, (largest, earliest, latest) in enumerate(layer.zones)
            if (size is None or largest >= size[0])
            and (self.mtime is None or (earliest <= self.mtime[1] and latest >= self.mtime[0]))
        ]
        if not blocks:
            return ()
        if self.kind is not None and not any(map(self.kind, layer.kinds)):
            return ()
        return (
            entry
            for number in blocks
            for entry in range(number * BLOCK, min((number + 1) * BLOCK, len(layer)))
            if size is None or layer.sizes[entry] >= size[0]
        )

    def _of_kind(self, layer: LayerColumns) -> Iterator[int]:
        is_wanted = self.kind
        return layer.of_kinds(lambda kind: is_wanted is None or is_wanted(kind))


def _with_digest(layer: LayerColumns, digest: bytes) -> Iterator[int]:
    digests = bytes(layer.digests)
    at = digests.find(digest)
    while at >= 0:
        if at % DIGEST_SIZE == 0:
            yield layer.digest_entries[at // DIGEST_SIZE]
        at = digests.find(digest, at + 1)


def _named(layer: LayerColumns, pattern: Pattern) -> Iterator[int]:
    """The entries whose names have the literal of a pattern, and if that is asked, what is below them."""
    found: Iterable[int] = layer.named(pattern.literal)
    if pattern.ignore_case:
        found = sorted({*found, *layer.named_folded(pattern.literal)})
    if not pattern.reaches_below:
        yield from found
        return
    below = set[int]()  # entries that were yielded, or are going to be
    for first in found:
        waiting = [first]
        while waiting:
            entry = waiting.pop()
            if entry in below:
                continue
            below.add(entry)
            yield entry
            if stat.S_ISDIR(layer.kind(entry).mode):
                waiting += reversed(layer.children(entry))
