"""The entries of a merged tree as nodes."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat

from imgfs.blob import Blob
from imgfs.view.loaded import LoadedTree
from imgfs.view.node import Directory, File, Listed, Node, NodeTable, Special, Symlink, TableDirectory

_LARGE = 10_000  # entries, listed in some milliseconds


class TreeNode(Node):
    """An entry of `loaded`; its values are those of the file that it is a name of."""

    def __init__(self, table: NodeTable, loaded: LoadedTree, entry: int) -> None:
        tree = loaded.tree
        self.table: NodeTable = table
        self.number = entry = tree.inode(entry)
        self._loaded = loaded
        self.mode = tree.modes[entry]
        self.uid = tree.uids[entry]
        self.gid = tree.gids[entry]
        self.links = tree.links[entry]
        self.mtime_ns = tree.mtimes[entry]

    @property
    def label(self) -> str:
        below = os.fsdecode(self._loaded.tree.path(self.number))
        return f"{self.table.key}/{below}"

    @property
    def xattrs(self) -> Mapping[bytes, bytes]:
        return self._loaded.tree.xattrs.get(self.number) or {}


class TreeDirectory(TreeNode, TableDirectory):
    @property
    def is_large(self) -> bool:
        return len(self._loaded.tree.children(self.number)) > _LARGE

    @property
    def above(self) -> Directory:
        parent = self._loaded.tree.parents[self.number]
        return TreeDirectory(self.table, self._loaded, parent) if self.number else self

    def lookup(self, name: bytes) -> Node | None:
        entry = self._loaded.tree.lookup(self.number, name)
        return None if entry is None else tree_node(self.table, self._loaded, entry)

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        tree, table, loaded = self._loaded.tree, self.table, self._loaded
        for entry in tree.children(self.number):
            yield tree.name(entry), tree_node(table, loaded, entry)

    def listing(self) -> Sequence[Listed]:
        tree = self._loaded.tree
        children = tree.children(self.number)
        part = slice(children.start, children.stop)
        columns = (tree.modes, tree.links, tree.uids, tree.gids)
        rows = list(
            zip(
                tree.names(children),
                children,
                *(column[part] for column in columns),
                repeat(0),
                tree.sizes[part],
                tree.mtimes[part],
                strict=False,
            )
        )
        if tree.same or tree.devices:
            for place, entry in enumerate(children):
                if entry in tree.same or entry in tree.devices:
                    rows[place] = self._listed(entry)
        return rows

    def _listed(self, entry: int) -> Listed:
        tree = self._loaded.tree
        node = tree_node(self.table, self._loaded, entry)
        inode = node.number
        owner = (tree.uids[inode], tree.gids[inode])
        name, size = tree.name(entry), tree.sizes[inode]
        return name, inode, node.mode, node.links, *owner, node.device, size, node.mtime_ns


class TreeFile(TreeNode, File):
    @property
    def known_size(self) -> int:
        return self._loaded.tree.sizes[self.number]

    def find_size(self) -> int:
        return self.known_size

    def open(self) -> Blob:
        return self._loaded.content(self.number)

    @property
    def opens_at_once(self) -> bool:
        return self._loaded.has_open(self.number)


class TreeSymlink(TreeNode, Symlink):
    def __init__(self, table: NodeTable, loaded: LoadedTree, entry: int) -> None:
        super().__init__(table, loaded, entry)
        self.target = loaded.tree.target(self.number)


class TreeSpecial(TreeNode, Special):
    def __init__(self, table: NodeTable, loaded: LoadedTree, entry: int) -> None:
        super().__init__(table, loaded, entry)
        self.device = os.makedev(*loaded.tree.devices.get(self.number, (0, 0)))


_KINDS = {stat.S_IFDIR: TreeDirectory, stat.S_IFREG: TreeFile, stat.S_IFLNK: TreeSymlink}


def tree_node(table: NodeTable, loaded: LoadedTree, entry: int) -> TreeNode:
    """The node of an entry."""
    return _KINDS.get(stat.S_IFMT(loaded.tree.modes[entry]), TreeSpecial)(table, loaded, entry)
