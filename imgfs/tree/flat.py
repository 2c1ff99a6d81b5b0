"""A merged tree as one virtual tar: what `docker export` gives, of which nothing is copied.

The members are those of the layers, header and data as they lie there. Each directory is followed by what is in it,
as extracting tools expect who restore its times, and siblings are in the order in which they lie in the layers, so
that reading it from end to end reads each layer nearly forward. The first name of a file comes before its others.
A header is only made new where the old one would say something else: another name for the same place, a hard link
whose target is gone, a directory that no layer has, a dialect that tar tools read in several ways, a name with `./`
before it, as `docker export` writes none: to GNU tar what is in `a` has a name beginning with `a/`, and it restores
the time of `a` when others come.
"""

import stat
from collections.abc import Iterator

from imgfs.tar.fields import BLOCK, padded
from imgfs.tar.headers import member_header
from imgfs.tar.member import HARDLINK, REGULAR, SYMLINK, TYPES
from imgfs.tree.assembly import Assembly
from imgfs.tree.tree import PLAIN_NAME, Paths, Tree


class FlatPlan(Assembly):
    """What a flat tar is made of: members of layers, headers of its own. Raises InvalidImage as `Assembly` does."""

    _copies_headers = True  # from the layers, where they say of an entry what it is

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self._tree = tree
        self._paths = Paths(tree)
        self._first_names: dict[int, int] = {}
        for entry in self._order():
            self._record(entry)
        self.add_zeros(2 * BLOCK)
        self.text.finish()
        del self._tree, self._paths, self._first_names

    def _order(self) -> Iterator[int]:
        """All entries but the root, each directory right before what is in it, siblings as they lie in the layers."""
        places = self._places()
        waiting = [0]
        while waiting:
            entry = waiting.pop()
            if entry:
                yield entry
            # names of one file lie in one place: they stay sorted
            waiting += sorted(self._tree.children(entry), key=places.__getitem__)[::-1]

    def _places(self) -> list[int]:
        """For each entry a number that grows with the first place where something of it or below it lies."""
        tree = self._tree
        places = [layer << 64 | record for layer, record in zip(tree.layers, tree.records, strict=True)]
        for entry in range(len(tree) - 1, 0, -1):  # children have larger numbers than what they are in
            parent = tree.parents[entry]
            places[parent] = min(places[parent], places[entry])
        return places

    def _record(self, entry: int) -> None:
        tree = self._tree
        inode = tree.inode(entry)
        mode = tree.modes[inode]
        if not stat.S_ISDIR(mode) and tree.links[inode] > 1:
            first = self._first_names.setdefault(inode, entry)
            if first != entry:
                self._header(entry, first)
                return
        layer, record, header = tree.layers[inode], tree.records[inode], tree.headers[inode]
        size = tree.sizes[inode] if stat.S_ISREG(mode) else 0
        if tree.forms[entry] == PLAIN_NAME and self._copies_headers:
            stored = tree.stored_size(inode) if stat.S_ISREG(mode) else 0
            self.add_layer(layer, record, header + stored, padded(stored) - stored)
            return
        self._header(entry)
        place, done, parts = record + header, 0, tree.sparse.get(inode)
        for offset, length in [(0, size)] if parts is None else parts:
            self.add_zeros(offset - done)
            self.add_layer(layer, place, length)
            place, done = place + length, offset + length
        self.add_zeros(padded(size) - done)

    def _header(self, entry: int, first: int | None = None) -> None:
        """Make the headers of an entry; if `first` is given, those of a hard link to that one."""
        tree, inode = self._tree, self._tree.inode(entry)
        mode = tree.modes[inode]
        kind, link = TYPES[stat.S_IFMT(mode)], b""
        if first is not None:
            kind, link = HARDLINK, self._paths.of(first)
        elif kind == SYMLINK:
            link = tree.target(inode)
        data = self._headers(inode, self._paths.of(entry), kind, link)
        self.add_text(self.text.size, len(data))
        self.text.append(data)

    def _headers(self, inode: int, path: bytes, kind: bytes, link: bytes) -> bytes:
        """The headers of a name of `inode`, which is of a type of members; `link` is where a link leads."""
        tree = self._tree
        mode = tree.modes[inode]
        return member_header(
            path,
            kind,
            tree.sizes[inode] if kind == REGULAR else 0,
            stat.S_IMODE(mode),
            (tree.uids[inode], tree.gids[inode]),
            tree.mtimes[inode],
            link,
            tree.devices.get(inode, (0, 0)),
            tree.xattrs.get(inode, {}) if kind != HARDLINK else {},
        )
