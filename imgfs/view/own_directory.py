"""`.imgfs/`: what the mount itself has to say, in a directory that is not listed.

Tried by the tests of the root directory.
"""

import json

from imgfs.registry.stats import Stats
from imgfs.view.node import FixedDirectory, Node
from imgfs.view.texts import LiveText


class OwnDirectory(FixedDirectory):
    """`stats` in it is what was asked of registries so far, as JSON."""

    key = "/.imgfs"

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self.makers = {b"stats": self._stats_file}

    def _stats_file(self) -> Node:
        return LiveText(
            f"{self.key}/stats", lambda: f"{json.dumps(self._stats.as_dict(), indent=2)}\n".encode(), 0
        )
