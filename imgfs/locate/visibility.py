"""In which stacks of layers an entry of one of them can be seen, and what a hard link between layers leads to.

The rules are those of `imgfs.tree.overlay`, but nothing is merged: the few names on the way to an entry are looked up
in the layers above it. What was found for a directory is remembered, as entries that are asked for often share theirs.
Tried by the tests of `answer`.
"""

import stat
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain

from imgfs.errors import InvalidImage
from imgfs.locate.layer_columns import LayerColumns
from imgfs.locate.place import LINKED, OPAQUE, UNSEEN
from imgfs.lru import LRU

_REMEMBERED = 200_000  # entries of directories, of all layers
_OFTEN = 64  # names asked for in a directory, after which it is known of each name which layers have it
_MAX_LINKS, _MAX_STEPS = 40, 5_000_000  # as `overlay` has them
_WHITEOUT = b".wh."
# What a name comes to in a layer, if not an entry: it hides what lower layers have; or it is _LINK less the number of a
# hard link to a lower layer, which hides that only where it leads somewhere.
_HIDES, _LINK = -1, -2

Stack = tuple[int, ...]
"""The numbers of layers, bottom first."""

_NONE = frozenset[int]()


@dataclass(frozen=True, slots=True)
class Sight:
    """The numbers of the stacks in which an entry is `seen`, and of those in which a layer above has `hidden` it.

    A directory that a layer above has, too, is that layer's there, and neither.
    """

    seen: Sequence[int]
    hidden: Sequence[int]


@dataclass(frozen=True, slots=True)
class _Directory:
    """What the path of a directory comes to in the layers for which that was `asked`."""

    found: dict[int, int]
    asked: frozenset[int]

    def weight(self) -> int:
        return 1 + len(self.found) + len(self.asked) // 2


class Visibility:
    """What can be seen of `layers` in `stacks` of their numbers. A layer that is twice in one counts at the top."""

    def __init__(self, layers: Sequence[LayerColumns], stacks: Sequence[Stack]) -> None:
        self._layers = layers
        self._stacks = stacks
        self._names: LRU[bytes, dict[bytes, tuple[int, ...]]] = LRU(_REMEMBERED, weigh=len)
        self._asked: dict[bytes, int] = {}
        self._having: list[dict[int, int]] = []
        self._above: dict[int, frozenset[int]] = {}
        self._directories: LRU[bytes, _Directory] = LRU(_REMEMBERED, weigh=_Directory.weight)
        self._root: Mapping[int, int] = dict.fromkeys(range(len(layers)), 0)
        self._all = frozenset(self._root)
        self._last: tuple[bytes, frozenset[int], Mapping[int, int]] = b"", self._all, self._root
        self._steps = 0

    def of(self, number: int, entry: int) -> Sight:
        """Where an entry of a layer can be seen, if its own layer shows it."""
        layer = self._layers[number]
        directory, _, name = layer.path(entry).rpartition(b"/")
        uses, above = self._uses_of(number)
        over = self._in(directory, self._directory(directory, above), name, above) if above else {}
        if not over:
            return Sight(list(uses), ())
        merges = stat.S_ISDIR(layer.kind(entry).mode)
        for other, found in over.items():
            if not (merges and self._is_directory(other, found)):
                over[other] = min(found, _HIDES)
        seen, hidden = [], []
        for stack, height in uses.items():
            what = [
                over[other]
                for other in self._stacks[stack][height + 1 :]
                if other in over and self._counts(stack, other, over[other])
            ]
            if not what:
                seen.append(stack)
            elif min(what) < 0:
                hidden.append(stack)
        return Sight(seen, hidden)

    def target(self, stack: int, number: int, entry: int) -> tuple[int, int] | None:
        """The layer and the entry that a hard link to a lower layer leads to, None if that is not there."""
        uses, _ = self._uses_of(number)
        return self._file(self._stacks[stack][: uses[stack]], self._layers[number].links[entry])

    def _uses_of(self, layer: int) -> tuple[Mapping[int, int], frozenset[int]]:
        """The stacks that have a layer, with its height there, and the layers that are above it in any of them."""
        if not self._having:
            self._having = [{} for _ in self._layers]
            for number, stack in enumerate(self._stacks):
                for height, each in enumerate(stack):  # the topmost place counts
                    self._having[each][number] = height
        having = self._having[layer]
        if layer not in self._above:
            above = (self._stacks[number][height + 1 :] for number, height in having.items())
            self._above[layer] = frozenset(chain.from_iterable(above))
        return having, self._above[layer]

    def _directory(self, path: bytes, layers: frozenset[int]) -> Mapping[int, int]:
        """What the path of a directory comes to in each of some layers that has something there or hides it.

        That is the entry of a directory that merges with lower ones, or a number < 0. Others may be among them.
        """
        if self._last[:2] == (path, layers):
            return self._last[2]
        asked_for = path
        ahead: list[tuple[bytes, _Directory]] = []
        found = self._root
        while path:
            known = self._directories.get(path) or _Directory({}, _NONE)
            if layers <= known.asked:
                found = known.found
                break
            ahead.append((path, known))
            path = path.rpartition(b"/")[0]
        for path, known in reversed(ahead):
            above, _, name = path.rpartition(b"/")
            for number, what in self._in(above, found, name, layers - known.asked).items():
                merges = self._is_directory(number, what, merges=True)
                known.found[number] = what if merges else min(what, _HIDES)
            found = known.found
            asked = known.asked | layers if known.asked else layers
            self._directories.put(path, _Directory(found, asked))
        self._last = asked_for, layers, found
        return found

    def _is_directory(self, number: int, what: int, *, merges: bool = False) -> bool:
        """Whether what a name comes to in a layer is a directory, and if asked, one that `merges` with lower ones."""
        if what < 0:
            return False
        kind = self._layers[number].kind(what)
        return stat.S_ISDIR(kind.mode) and not (merges and kind.flags & OPAQUE)

    def _in(
        self, path: bytes, directory: Mapping[int, int], name: bytes, layers: frozenset[int]
    ) -> dict[int, int]:
        """What a name comes to, in each of some layers, in a directory at a path that comes to this there.

        That is an entry, or a number < 0.
        """
        found = {}
        for number in self._which(path, directory, name, layers):
            of = directory[number]
            what = of if of < 0 else self._look(number, of, name)
            if what is not None and what >= 0 and self._layers[number].kind(what).flags & LINKED:
                what = _LINK - what
            if what is not None:
                found[number] = what
        return found

    def _which(
        self, path: bytes, directory: Mapping[int, int], name: bytes, layers: frozenset[int]
    ) -> Set[int]:
        """Those of some layers in which a name may come to something; of few names that are asked for, all."""
        having = layers & directory.keys()
        names = self._names.get(path)
        if names is None:
            if len(self._asked) > _REMEMBERED:
                self._asked.clear()
            asked = self._asked[path] = self._asked.get(path, 0) + 1
            if asked <= _OFTEN or len(having) <= 1:
                return having
            del self._asked[path]
            names = self._all_names(path)
            self._names.put(path, names)
        may_have = {*names.get(name, ()), *names.get(name.removeprefix(_WHITEOUT), ())}
        return {number for number in having if number in may_have or directory[number] < 0}

    def _all_names(self, path: bytes) -> dict[bytes, tuple[int, ...]]:
        """The layers that have each of the names in a directory, or a whiteout for it."""
        names: dict[bytes, tuple[int, ...]] = {}
        for number, of in self._directory(path, self._all).items():
            for name in self._layers[number].names_in(of) if of >= 0 else ():
                name = name.removeprefix(_WHITEOUT)
                names[name] = (*names.get(name, ()), number)
        return names

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
