"""Progress bars for layers that are written to an archive.

Tried by the tests of `imgfs save`.
"""

import os
from collections.abc import Callable, Collection, Generator, Iterable

from imgfs.cli.bars import command_bars
from imgfs.digest import Digest
from imgfs.saving import Entry


class EntryBars:
    """Passes `entries` on, with a bar for each of `layers` while that is written."""

    def __init__(self, entries: Iterable[Entry], layers: Collection[Digest]) -> None:
        self._entries = entries
        self._layers = {digest.hex: digest for digest in layers}
        self._advance: Callable[[int], None] = _nothing

    def advance(self, count: int) -> None:
        self._advance(count)

    def entries(self) -> Generator[Entry, None, None]:
        number = 0
        for entry in self._entries:
            digest = self._layers.get(os.path.basename(entry.name))
            if digest is None:
                self._advance = _nothing
                yield entry
                continue
            number += 1
            label = f"layer {number} of {len(self._layers)}  {digest.short}"
            with command_bars()(label, entry.size) as self._advance:
                yield entry


def _nothing(count: int) -> None:
    """Do nothing for bytes that have no bar."""
