"""Finding what lies in single layers and is not seen in the end, as later layers delete or replace it.

Tried by the tests of `imgfs find` and of `imgfs check`.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from imgfs.rootfs.rootfs import RootFS
from imgfs.tar.paths import steps
from imgfs.tree import Tree
from imgfs.tree.tree import LITERAL_NAME


def hidden_paths(
    seen: RootFS, layers: Iterable[RootFS], patterns: Sequence[str]
) -> Iterator[tuple[int, str, str]]:
    """What matches `patterns` in `layers`, bottom first, and is not in `seen`, which they make.

    Yields the number of the layer, the pattern and the path. Whiteouts are not among them. Raises what reading the
    layers raises.
    """
    places = {seen.place(seen.tree.inode(entry)) for entry in seen.tree.walk()}
    for number, layer in enumerate(layers):
        for pattern in patterns:
            for path in layer.find(pattern):
                if not _is_seen(seen.tree, places, layer, path):
                    yield number, pattern, path


def _is_seen(seen: Tree, places: set[object], layer: RootFS, path: str) -> bool:
    """Whether what a layer has at a path is seen in the end, or is a whiteout."""
    entry = layer.lookup(path, follow=False)
    if not layer.tree.is_directory(entry):
        is_device = stat.S_ISCHR(layer.tree.modes[entry]) and layer.tree.devices.get(entry) == (0, 0)
        is_marker = os.path.basename(path).startswith(".wh.") and layer.tree.forms[entry] != LITERAL_NAME
        return is_device or is_marker or layer.place(entry) in places
    found: int | None = 0
    for name in steps(os.fsencode(path)):
        found = None if found is None else seen.lookup(found, name)
    return found is not None and seen.is_directory(found)
