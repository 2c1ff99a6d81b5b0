"""The columns of an overlay, copied from those of its layers: whole ranges of siblings where nothing comes between.

Knows nothing of how layers are overlaid, which is for `overlay`, only what that comes to. Tried by the tests of that.
"""

import stat
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from imgfs.tree.tree import NO_LAYER, OTHER_NAME, Tree
from imgfs.tree.whiteouts import OverlaidLayer, Ref, place, ref

_SAME = ("modes", "uids", "gids", "links", "sizes", "mtimes", "records", "headers", "counts")
"""Columns that are copied as they are."""
_Value = TypeVar("_Value")


class MergedDir:
    """A directory that several layers have: its entry in the topmost of them, and what is in it, by name.

    A child that is a directory but a Ref is as its layer has it, with all that is below.
    """

    __slots__ = ("children", "ref")

    def __init__(self, of: Ref, children: "dict[bytes, MergedDir | Ref]") -> None:
        self.ref = of
        self.children = children


def merged_tree(root: MergedDir, layers: Sequence[OverlaidLayer]) -> Tree:
    """The tree below a directory, which is its root."""
    return _Writer(root, layers).tree


class _Writer:
    def __init__(self, root: MergedDir, layers: Sequence[OverlaidLayer]) -> None:
        self._layers = layers
        self.tree = Tree()
        self._firsts: dict[Ref, int] = {}  # the first name of each file that has several in its layer
        # directories in the order of their entries, whose children are written in that order
        self._waiting: list[tuple[int, MergedDir | Ref]] = []
        if layers:
            self._one(0, b"", root)
        else:
            self.tree.append(0, b"", stat.S_IFDIR | 0o755, (0, 0), 0, 0, (NO_LAYER, 0, 0))
        for entry, node in self._waiting:
            self._write(entry, node)
        for number, layer in enumerate(layers):
            if copy := layer.tree.copies.get(0):
                self.tree.copies[number] = copy
            if why := layer.tree.damaged.get(0):
                self.tree.damaged[number] = why

    def _write(self, directory: int, node: MergedDir | Ref) -> None:
        """Write what is in a directory."""
        tree = self.tree
        first, directories = len(tree), len(self._waiting)
        if isinstance(node, MergedDir):
            self._pieces(directory, iter(sorted(node.children.items())))
        else:
            number, entry = place(node)
            layer = self._layers[number]
            if layer.has_all(entry):
                children = layer.tree.children(entry)
                self._range(directory, number, children.start, children.stop)
            else:
                self._pieces(directory, ((name, ref(number, child)) for name, child in layer.visible(entry)))
        tree.set_children(directory, first, len(tree) - first)
        tree.links[directory] = 2 + len(self._waiting) - directories

    def _pieces(self, directory: int, children: Iterator[tuple[bytes, MergedDir | Ref]]) -> None:
        """Write children one by one, and those that follow each other in one layer too as ranges."""
        start = after = 0  # the range, as Refs
        for name, node in children:
            plain = 0 if isinstance(node, MergedDir) or self._is_special(node) else node
            if plain and plain == after:
                after += 1
                continue
            if after > start:
                self._range(directory, *place(start), place(after)[1])
            start, after = plain, plain + 1 if plain else 0
            if not plain:
                self._one(directory, name, node)
        if after > start:
            self._range(directory, *place(start), place(after)[1])

    def _is_special(self, of: Ref) -> bool:
        number, entry = place(of)
        return entry in self._layers[number].special

    def _range(self, directory: int, number: int, start: int, stop: int) -> None:
        """Copy entries of one layer that follow each other, none of which is special."""
        tree, layer = self.tree, self._layers[number]
        source = layer.tree
        count, base = stop - start, len(tree)
        if not count:
            return
        tree.parents.extend(array("I", [directory]) * count)
        for column in _SAME:
            getattr(tree, column).extend(getattr(source, column)[start:stop])
        tree.forms += source.forms[start:stop]
        layers = source.layers[start:stop]
        if NO_LAYER in layers:
            tree.layers.extend(number if of != NO_LAYER else of for of in layers)
        else:
            tree.layers.extend(array("I", [number]) * count)
        text = source.name_ends[start - 1]
        shift = len(tree.names_text) - text
        tree.names_text += source.names_text[text : source.name_ends[stop - 1]]
        tree.name_ends.extend([end + shift for end in source.name_ends[start:stop]])
        tree.firsts.extend(array("Q", [0]) * count)
        for entry, mode in enumerate(source.modes[start:stop], start):
            kind = mode & 0o170000
            if kind == stat.S_IFDIR:
                self._waiting.append((base + entry - start, ref(number, entry)))
            elif kind == stat.S_IFLNK:
                tree.firsts[base + entry - start] = len(tree.targets_text)
                tree.targets_text += source.target(entry)
        for rare in ("devices", "sparse"):
            _copy(getattr(source, rare), getattr(tree, rare), range(start, stop), base - start)
        for entry in _keys(source.xattrs, range(start, stop)):
            if xattrs := layer.xattrs(entry):
                tree.xattrs[base + entry - start] = xattrs

    def _one(self, parent: int, name: bytes, node: MergedDir | Ref) -> None:
        """Write one entry that is special, or whose children do not come of one layer alone."""
        if isinstance(node, MergedDir):
            self._entry(parent, name, node.ref)
            self._waiting.append((len(self.tree) - 1, node))
            return
        number, entry = place(node)
        layer = self._layers[number]
        inode = layer.tree.inode(entry)
        linked = layer.links.get(inode)
        of, form = (ref(number, inode), layer.tree.forms[entry]) if linked is None else (linked, OTHER_NAME)
        written = self._entry(parent, name, of, form)
        first = self._firsts.setdefault(of, written)
        if first != written:
            self.tree.same[written] = first
            self.tree.links[first] += 1

    def _entry(self, parent: int, name: bytes, of: Ref, form: int | None = None) -> int:
        """Write what an entry of a layer says under a name; returns its number."""
        number, entry = place(of)
        layer = self._layers[number]
        source, tree = layer.tree, self.tree
        target = source.target(entry) if stat.S_ISLNK(source.modes[entry]) else b""
        owner = source.uids[entry], source.gids[entry]
        layered = number if source.layers[entry] != NO_LAYER else NO_LAYER
        written = tree.append(
            parent,
            name,
            source.modes[entry],
            owner,
            source.sizes[entry],
            source.mtimes[entry],
            (layered, source.records[entry], source.headers[entry]),
            target,
            form=source.forms[entry] if form is None else form,
        )
        if xattrs := layer.xattrs(entry):
            tree.xattrs[written] = xattrs
        for rare in ("devices", "sparse"):
            _copy(getattr(source, rare), getattr(tree, rare), range(entry, entry + 1), written - entry)
        return written


def _keys(values: Mapping[int, object], entries: range) -> Iterator[int]:
    """Which of some entries have a value."""
    if not values:
        return iter(())
    return filter(values.__contains__, entries)


def _copy(values: dict[int, _Value], to: dict[int, _Value], entries: range, shift: int) -> None:
    """Copy what some entries have to others, `shift` further."""
    for entry in _keys(values, entries):
        to[entry + shift] = values[entry]
