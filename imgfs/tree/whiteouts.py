"""One layer's tree as overlayfs reads it: what it shows, what it hides of lower layers, which directories are opaque.

Formats: whiteouts as in the OCI image specification (layer.md), and as engines unpack these for the kernel
(Documentation/filesystems/overlayfs.rst). Knows nothing of other layers. Tried by the tests of `overlay`.
"""

import stat
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from imgfs.tree.tree import LITERAL_NAME, NO_LAYER, Tree

WHITEOUT, OPAQUE, AUFS = b".wh.", b".wh..wh..opq", b".wh..wh."
"""How the names of whiteouts begin, the one that makes a directory opaque, those of AUFS's own files."""
_AFTER = b".wh/"  # sorts right behind all names of whiteouts
_OVERLAYS_OWN = b"trusted.overlay."  # the kernel shows no attribute called so
_OPAQUE_XATTR = b"trusted.overlay.opaque"

Ref = int
"""An entry of one of several trees: `ref` makes it, `place` takes it apart."""
_BITS = 32


def ref(layer: int, entry: int) -> Ref:
    """An entry of a layer's tree, by their numbers."""
    return layer << _BITS | entry


def place(of: Ref) -> tuple[int, int]:
    """The numbers of the layer and of the entry."""
    return of >> _BITS, of & (1 << _BITS) - 1


def marker(tree: Tree, directory: int, name: bytes) -> int | None:
    """The entry in a directory with the name of a whiteout, unless it is known to be none."""
    entry = tree.lookup(directory, name)
    return None if entry is None or tree.forms[entry] == LITERAL_NAME else entry


class OverlaidLayer:
    """What `tree`, which must not change any more, is in an overlay.

    `links`: for hard links to what only lower layers have, what they lead to; None where that is nothing.
    """

    def __init__(self, tree: Tree, links: dict[int, Ref | None]) -> None:
        self.tree = tree
        self.links = links
        self.special = {entry for entry in tree.devices if self._is_whiteout(entry)}
        """Entries that are not copied as they stand in their columns."""
        self.special.update(links, tree.same, tree.same.values())
        self._marked = WHITEOUT in tree.names_text

    def hidden(self, directory: int) -> list[bytes]:
        """The names in a directory that this layer takes away from lower ones."""
        tree, children = self.tree, self.tree.children(directory)
        found = []
        if not self.special.isdisjoint(children):
            found = [tree.name(entry) for entry in children if self._is_whiteout(entry)]
        if self._marked:
            names = tree.names(children)
            for number in self._marked_range(names):
                name = names[number].removeprefix(WHITEOUT)
                at = bisect_left(names, name)
                # what the layer itself has is there, whatever the order
                if self._is_marker(children[number], names[number]) and names[at : at + 1] != [name]:
                    found.append(name)
        return found

    def visible(self, directory: int) -> Iterable[tuple[bytes, int]]:
        """The names and entries in a directory that can be seen in an overlay, sorted."""
        tree, children = self.tree, self.tree.children(directory)
        names = tree.names(children)
        marked = self._marked_range(names) if self._marked else range(0)
        if not marked and self.special.isdisjoint(children):
            return zip(names, children, strict=True)
        return [
            (name, entry)
            for number, (name, entry) in enumerate(zip(names, children, strict=True))
            if not (number in marked and self._is_marker(entry, name)) and not self._is_gone(entry)
        ]

    def whiteouts(self) -> set[int]:
        """The entries that cannot be seen, as they are whiteouts."""
        tree, found = self.tree, set(filter(self._is_whiteout, self.tree.devices))
        at = tree.names_text.find(WHITEOUT) if self._marked else -1
        while at >= 0:
            entry = bisect_right(tree.name_ends, at)
            name = tree.name(entry)
            if name.startswith(WHITEOUT) and self._is_marker(entry, name):
                found.add(entry)
            at = tree.names_text.find(WHITEOUT, tree.name_ends[entry])
        return found

    def opaque_directories(self) -> set[int]:
        """The directories for which `is_opaque` is true."""
        tree = self.tree
        marked = {tree.parents[entry] for entry in self.whiteouts() if tree.name(entry) == OPAQUE}
        return {
            entry for entry in {*marked, *tree.xattrs} if tree.is_directory(entry) and self.is_opaque(entry)
        }

    def has_all(self, directory: int) -> bool:
        """Whether all that is in a directory can be copied as it stands."""
        children = self.tree.children(directory)
        if not self.special.isdisjoint(children):
            return False
        return not self._marked or not self._marked_range(self.tree.names(children))

    def child(self, directory: int, name: bytes) -> int | None:
        """The entry of a name that can be seen in an overlay."""
        entry = self.tree.lookup(directory, name)
        if entry is None or self._is_gone(entry):
            return None
        return None if name.startswith(WHITEOUT) and self._is_marker(entry, name) else entry

    def is_opaque(self, directory: int) -> bool:
        """Whether nothing of lower layers is in a directory."""
        if self._marked and marker(self.tree, directory, OPAQUE) is not None:
            return True
        return self.tree.xattrs.get(directory, {}).get(_OPAQUE_XATTR) == b"y"

    def xattrs(self, entry: int) -> dict[bytes, bytes]:
        """The attributes that the kernel shows."""
        found = self.tree.xattrs.get(entry) or {}
        if any(name.startswith(_OVERLAYS_OWN) for name in found):
            return {name: value for name, value in found.items() if not name.startswith(_OVERLAYS_OWN)}
        return found

    @property
    def is_itself(self) -> bool:
        """Whether the tree alone is what the kernel would show of it."""
        tree = self.tree
        if self._marked or self.links or any(map(self._is_whiteout, tree.devices)):
            return False
        return not any(name.startswith(_OVERLAYS_OWN) for found in tree.xattrs.values() for name in found)

    def _marked_range(self, names: list[bytes]) -> range:
        """Where in the sorted names of a directory those of whiteouts are."""
        return range(bisect_left(names, WHITEOUT), bisect_left(names, _AFTER))

    def _is_marker(self, entry: int, name: bytes) -> bool:
        """Whether what is named like a whiteout is one: engines take none for what a path goes through."""
        if self.tree.forms[entry] == LITERAL_NAME:
            return False
        return self.tree.layers[entry] != NO_LAYER or name.startswith(AUFS)

    def _is_whiteout(self, entry: int) -> bool:
        return self.tree.devices.get(entry) == (0, 0) and stat.S_ISCHR(self.tree.modes[entry])

    def _is_gone(self, entry: int) -> bool:
        if entry not in self.special:
            return False
        return self._is_whiteout(entry) or self.links.get(self.tree.inode(entry), 0) is None
