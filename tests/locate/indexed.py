"""Layers that are indexed in memory, and images of them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from imgfs.cache import Cache
from imgfs.locate.answer import Hit, answer
from imgfs.locate.catalog import Catalog
from imgfs.locate.machine import Machine, Root
from imgfs.locate.search import Query
from imgfs.locate.segment_writer import PackedLayer, pack_layer
from imgfs.tree import Tree


def packed(trees: Sequence[Tree], digests: Mapping[int, bytes] | None = None) -> list[PackedLayer]:
    """Layers with these trees, whose keys are their numbers."""
    return [pack_layer(bytes([number] * 32), tree, digests) for number, tree in enumerate(trees)]


class Indexed:
    """Images, each the numbers of its layers, whose trees are indexed; nothing is kept."""

    def __init__(self, trees: Sequence[Tree], images: Iterable[Sequence[int]]) -> None:
        self.catalog = Catalog(Cache("/proc/none", 0), {})
        self.catalog.add(packed(trees))
        stacks = [tuple(image) for image in images]
        roots = [Root(str(number), [], number, False) for number in range(len(stacks))]
        keys = [bytes([number] * 32) for number in range(len(trees))]
        self.machine = Machine(keys, list(map(str, range(len(trees)))), stacks, roots, [], {}, {})

    def hits(self, query: Query, *, deleted: bool = False) -> list[Hit]:
        """What is found."""
        return list(answer(query, self.machine, self.catalog, deleted=deleted))

    def paths(self, query: Query, image: int = 0) -> list[str]:
        """The paths that are found in one image."""
        hits = self.hits(query)
        return [os.fsdecode(hit.path) for hit in hits if str(image) in [root.id for root in hit.seen_in]]


def cache(folder: Path) -> Cache:
    """A cache in a folder."""
    return Cache(str(folder), 1 << 30)
