"""In which stacks of layers an entry of one of them can be seen, and what a hard link between layers leads to.

The rules are those of `imgfs.tree.overlay`, but nothing is merged: the few names on the way to an entry are looked up
in the layers above it. What was found for a directory is remembered, as entries that are asked for often share theirs.
Tried by the tests of `answer`.
"""

import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from imgfs.errors import InvalidImage
from imgfs.locate.segment import LINKED, OPAQUE, UNSEEN, LayerColumns
from imgfs.lru import LRU

_REMEMBERED = 200_000  # entries of directories, of all layers
_OFTEN = 64  # names asked for in a directory, after which it is known of each name which layers have it
_MAX_LINKS, _MAX_STEPS = 40, 5_000_000  # as `overlay` has them
_WHITEOUT = b".wh."
_HIDES = -1  # what a name comes to in a layer, if not an entry: it hides what lower layers have
_LINK = (
    -2
)  # or this, less the number of a hard link to a lower layer, which hides that only where it leads somewhere

Stack = tuple[int, ...]
"""The numbers of layers, bottom first."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The numbers of the stacks in which an entry is `seen`, and of those in which a layer above has `hidden` it.

    A directory that a layer above has, too, is that layer's there, and neither.
    """

    seen: Sequence[int]
    hidden: Sequence[int]


class Visibility:
    """What can be seen of `layers` in `stacks` of their numbers. A layer that is twice in one counts at the top."""

    def __init__(self, layers: Sequence[LayerColumns], stacks: Sequence[Stack]) -> None:
        self._layers = layers
        self._stacks = stacks
        self._names: LRU[bytes, dict[bytes, tuple[int, ...]]] = LRU(_REMEMBERED, weigh=len)
        self._asked: dict[bytes, int] = {}
        self._having: list[list[int]] = []
        self._uses: dict[int, list[tuple[int, frozenset[int]]]] = {}
        self._directories: LRU[bytes, Mapping[int, int]] = LRU(
            _REMEMBERED, weigh=lambda found: len(found) + 1
        )
        self._root = dict.fromkeys(range(len(layers)), 0)
        self._steps = 0

    def of(self, number: int, entry: int) -> Sight:
        """Where an entry of a layer can be seen, if its own layer shows it."""
        layer = self._layers[number]
        directory, _, name = layer.path(entry).rpartition(b"/")
        over = self._in(directory, self._directory(directory), name)
        over.pop(number, None)
        uses = self._uses_of(number)
        if not over:
            return Sight([stack for stack, _ in uses], ())
        merges = stat.S_ISDIR(layer.kind(entry).mode)
        for other, found in over.items():
            if not (merges and self._is_directory(other, found)):
                over[other] = min(found, _HIDES)
        seen, hidden = [], []
        for stack, above in uses:
            what = [over[other] for other in above & over.keys() if self._counts(stack, other, over[other])]
            if not what:
                seen.append(stack)
            elif min(what) < 0:
                hidden.append(stack)
        return Sight(seen, hidden)

    def target(self, stack: int, number: int, entry: int) -> tuple[int, int] | None:
        """The layer and the entry that a hard link to a lower layer leads to, None if that is not there."""
        layers = self._stacks[stack]
        height = len(layers) - 1 - len(_above(layers, number))
        return self._file(layers[:height], self._layers[number].links[entry])

    def _uses_of(self, layer: int) -> list[tuple[int, frozenset[int]]]:
        """The numbers of the stacks that have a layer, each with the layers above it there."""
        if not self._having:
            self._having = [[] for _ in self._layers]
            for number, stack in enumerate(self._stacks):
                for each in set(stack):
                    self._having[each].append(number)
        if layer not in self._uses:
            having = ((number, self._stacks[number]) for number in self._having[layer])
            self._uses[layer] = [(number, frozenset(_above(stack, layer))) for number, stack in having]
        return self._uses[layer]

    def _directory(self, path: bytes) -> Mapping[int, int]:
        """What the path of a directory comes to in each layer that has something there or hides it.

        That is the entry of a directory that merges with lower ones, or a number < 0.
        """
        found: Mapping[int, int] | None = None
        ahead = []
        while path and (found := self._directories.get(path)) is None:
            ahead.append(path)
            path = path.rpartition(b"/")[0]
        if found is None:
            found = self._root
        for path in reversed(ahead):
            above, _, name = path.rpartition(b"/")
            found = {
                number: what if self._is_directory(number, what, merges=True) else min(what, _HIDES)
                for number, what in self._in(above, found, name).items()
            }
            self._directories.put(path, found)
        return found

    def _is_directory(self, number: int, what: int, *, merges: bool = False) -> bool:
        """Whether what a name comes to in a layer is a directory, and if asked, one that `merges` with lower ones."""
        if what < 0:
            return False
        kind = self._layers[number].kind(what)
        return stat.S_ISDIR(kind.mode) and not (merges and kind.flags & OPAQUE)

    def _in(self, path: bytes, directory: Mapping[int, int], name: bytes) -> dict[int, int]:
        """What a name comes to in a directory at a path that comes to this: an entry, or a number < 0."""
        found = {}
        for number in self._which(path, directory, name):
            of = directory[number]
            what = of if of < 0 else self._look(number, of, name)
            if what is not None and what >= 0 and self._layers[number].kind(what).flags & LINKED:
                what = _LINK - what
            if what is not None:
                found[number] = what
        return found

    def _which(self, path: bytes, directory: Mapping[int, int], name: bytes) -> Iterable[int]:
        """The layers in which a name may come to something; of few names that are asked for, all."""
        names = self._names.get(path)
        if names is None:
            if len(self._asked) > _REMEMBERED:
                self._asked.clear()
            asked = self._asked[path] = self._asked.get(path, 0) + 1
            if asked <= _OFTEN or len(directory) <= 1:
                return directory
            del self._asked[path]
            names = {}
            for number, of in directory.items():
                layer = self._layers[number]
                for known in layer.names_in(of) if of >= 0 else ():
                    if known.startswith(_WHITEOUT):
                        known = known.removeprefix(_WHITEOUT)
                    names[known] = (*names.get(known, ()), number)
            self._names.put(path, names)
        always = (number for number, of in directory.items() if of < 0)
        return {*names.get(name, ()), *names.get(name.removeprefix(_WHITEOUT), ()), *always}

    def _look(self, number: int, directory: int, name: bytes) -> int | None:
        """The entry of a name that a layer shows in a directory, _HIDES if it hides the name, None for neither."""
        layer = self._layers[number]
        entry = layer.lookup(directory, name)
        if directory not in layer.marked:
            return entry
        if entry is None:
            marker = layer.lookup(directory, _WHITEOUT + name)
            return _HIDES if marker is not None and layer.kind(marker).flags & UNSEEN else None
        kind = layer.kind(entry)
        if kind.flags & UNSEEN:
            return _HIDES if stat.S_ISCHR(kind.mode) else None
        return entry

    def _counts(self, stack: int, number: int, what: int) -> bool:
        """Whether what a name comes to in a layer is there in a stack."""
        return what > _LINK or self.target(stack, number, _LINK - what) is not None

    def _file(self, layers: Stack, path: bytes, depth: int = 0) -> tuple[int, int] | None:
        """The file that is no directory at a path in a stack, links on the way followed; of a hard link, its file."""
        if depth > _MAX_LINKS:
            raise InvalidImage("hard links that lead through too many layers")
        way: list[list[tuple[int, int]]] = [[(height, 0) for height in reversed(range(len(layers)))]]
        ahead, links = path.split(b"/")[::-1], 0
        while ahead:
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise InvalidImage("links that lead through too many directories")
            name = ahead.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                del way[max(1, len(way) - 1) :]
                continue
            found = self._child(layers, way[-1], name, depth)
            if found is None or isinstance(found, list):
                if not found:
                    return None
                way.append(found)
                continue
            if not ahead:
                return found
            layer, entry = self._layers[found[0]], found[1]
            links += 1
            if not stat.S_ISLNK(layer.kind(entry).mode) or links > _MAX_LINKS:
                return None
            target = layer.target(entry)
            ahead += target.split(b"/")[::-1]
            if target.startswith(b"/"):
                del way[1:]
        return None

    def _child(
        self, layers: Stack, directory: list[tuple[int, int]], name: bytes, depth: int
    ) -> list[tuple[int, int]] | tuple[int, int] | None:
        """What is in a merged directory by a name: another one, or a file as its layer and entry.

        A merged directory is the heights of layers in the stack, the topmost first, and the entries there.
        """
        merged: list[tuple[int, int]] = []
        for height, of in directory:
            number = layers[height]
            entry = self._look(number, of, name)
            if entry is None:
                continue
            if entry == _HIDES:
                break
            layer = self._layers[number]
            kind = layer.kind(entry)
            file: tuple[int, int] | None = (number, entry)
            if kind.flags & LINKED:
                file = self._file(layers[:height], layer.links[entry], depth + 1)
                if file is None:
                    continue
            elif stat.S_ISDIR(kind.mode):
                merged.append((height, entry))
                if kind.flags & OPAQUE:
                    break
                continue
            return merged or file
        return merged or None


def _above(stack: Stack, layer: int) -> Stack:
    """The layers above the topmost place of a layer in a stack."""
    return stack[len(stack) - stack[::-1].index(layer) :]
