"""How efficient the layers of an image are, in the numbers that dive gives.

Follows dive (github.com/wagoodman/dive, dive/filetree/efficiency.go): each path is looked at in every layer that has a
file, an empty directory or a whiteout there. What it has in all of them together counts as wasted if they are several,
the last one included; its least size in any is what it would take at best. A whiteout has the size of the directory
that it removes, and none if it removes a file. Only the first name of a file has its size.

Unlike dive, which then passes over the rest of the layer, a whiteout of what is not there counts as one of a file.
"""

import heapq
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import msgspec

from imgfs.tree.tree import LITERAL_NAME, NO_LAYER, OTHER_NAME, Tree
from imgfs.tree.whiteouts import AUFS, WHITEOUT

_LISTED = 100  # paths

_Node = tuple[int, bool, int]
"""The number of a layer, whether it has a file or directory rather than a whiteout, and the entry."""


@dataclass(frozen=True, slots=True, order=True)
class Repeated:
    """A path that several layers have: their number, and what it takes in all of them in bytes."""

    size: int
    count: int
    path: bytes


class Efficiency(msgspec.Struct, frozen=True):
    """`score` is at most 1. `size`, of the content of all layers, and `wasted` are in bytes; `wasted_share` is the part
    that `wasted` is of what all but the lowest layer have, infinite if they have nothing.

    `repeated` are the paths that take most of what is wasted, the largest first.
    """

    score: float
    size: int
    wasted: int
    wasted_share: float
    repeated: Sequence[Repeated]


def efficiency_of(trees: Iterable[Tree]) -> Efficiency:
    """The efficiency of some layers, bottom first."""
    layers = [_Layer(tree) for tree in trees]
    least = total = wasted = 0
    repeated: list[Repeated] = []
    # directories of one path, and the layers that remove that or what it is in
    waiting: list[tuple[bytes, Sequence[_Node], frozenset[int]]] = [
        (b"", [(number, True, 0) for number in range(len(layers))], frozenset())
    ]
    while waiting:
        path, directories, removals = waiting.pop()
        for name, nodes in _by_name(layers, directories):
            below = [node for node in nodes if layers[node[0]].is_filled(node)]
            sizes = [
                layers[node[0]].size(node[2]) if node[1] else _removed(layers, nodes, node[0], removals)
                for node in nodes
                if node not in below
            ]
            if sizes:
                least += min(sizes)
                total += sum(sizes)
            if len(sizes) > 1 and any(sizes):
                wasted += sum(sizes)
                heapq.heappush(repeated, Repeated(sum(sizes), len(sizes), path + name))
                if len(repeated) > _LISTED:
                    heapq.heappop(repeated)
            if below:
                own = [number for number, is_there, _ in nodes if not is_there]
                waiting.append((path + name + b"/", below, removals.union(own)))
    sizes = [layer.total for layer in layers]
    added = sum(sizes[1:])
    share = wasted / added if added else float("inf") if wasted else 0.0
    score = least / total if total else 1.0
    return Efficiency(score, sum(sizes), wasted, share, sorted(repeated, reverse=True))


class _Layer:
    """A layer's tree as dive has it: no files of AUFS, whiteouts by the name that they remove."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._holders = {first: first for first in tree.same.values()}
        """The names that the member with the content is for, of files that have several."""
        for entry, first in tree.same.items():
            if tree.forms[entry] != OTHER_NAME:
                self._holders[first] = entry
        self.total = sum(map(self.size, tree.walk()))

    def size(self, entry: int) -> int:
        """The size of a name, in bytes."""
        inode = self.tree.inode(entry)
        has_content = stat.S_ISREG(self.tree.modes[inode]) and self._holders.get(inode, inode) == entry
        return self.tree.sizes[inode] if has_content else 0

    def is_filled(self, node: _Node) -> bool:
        """Whether it is a directory that is not empty."""
        tree, (_, is_there, entry) = self.tree, node
        return is_there and any(not tree.name(child).startswith(AUFS) for child in tree.children(entry))

    def is_directory(self, entry: int) -> bool:
        """Whether it is a directory that the layer has a member for."""
        return self.tree.is_directory(entry) and self.tree.layers[entry] != NO_LAYER

    def named(self, number: int, directory: int) -> tuple[Iterable[tuple[bytes, _Node]], ...]:
        """Files and directories, and whiteouts, each sorted by their names."""
        there, whiteouts = [], []
        children = self.tree.children(directory)
        for name, entry in zip(self.tree.names(children), children, strict=True):
            if self._is_whiteout(name, entry):
                whiteouts.append((name.removeprefix(WHITEOUT), (number, False, entry)))
            elif not name.startswith(AUFS):
                there.append((name, (number, True, entry)))
        return sorted(whiteouts), there

    def _is_whiteout(self, name: bytes, entry: int) -> bool:
        is_literal = self.tree.forms[entry] == LITERAL_NAME
        if name.startswith(WHITEOUT) and not name.startswith(AUFS) and not is_literal:
            return not self.tree.counts[entry] or not self.tree.is_directory(entry)
        return self.tree.devices.get(entry) == (0, 0) and stat.S_ISCHR(self.tree.modes[entry])


def _by_name(layers: Sequence[_Layer], directories: Sequence[_Node]) -> Iterator[tuple[bytes, list[_Node]]]:
    """What is in the same directory of several layers, by name, the lowest layer first."""
    lists = [named for number, _, entry in directories for named in layers[number].named(number, entry)]
    for name, group in groupby(heapq.merge(*lists), key=lambda pair: pair[0]):
        yield name, [node for _, node in group]


def _removed(layers: Sequence[_Layer], nodes: Sequence[_Node], number: int, removals: frozenset[int]) -> int:
    """What a whiteout of the layer `number` removes, in bytes; `nodes` are what all layers have at its path."""
    first = max((removal for removal in removals if removal < number), default=0)
    alive = _alive([node for node in nodes if first <= node[0] < number])
    if not alive or not layers[alive[-1][0]].is_directory(alive[-1][2]):
        return 0
    total = 0
    waiting = [alive]
    while waiting:
        for _, below in _by_name(layers, waiting.pop()):
            seen = _alive(below)
            if seen:
                total += layers[seen[-1][0]].size(seen[-1][2])
                waiting.append(seen)
    return total


def _alive(nodes: Sequence[_Node]) -> list[_Node]:
    """What no whiteout among them removes."""
    last = max((number for number, is_there, _ in nodes if not is_there), default=0)
    return [node for node in nodes if node[1] and node[0] >= last]
