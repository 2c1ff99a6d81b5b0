"""The entries of a merged tree as nodes."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat

from imgfs.blob import Blob
from imgfs.rootfs import RootFS
from imgfs.view.node import File, Listed, Node, NodeTable, Origin, Special, Symlink, TableDirectory


class TreeNode(Node):
    """An entry of `root`; its values are those of the file that it is a name of."""

    def __init__(self, table: NodeTable, root: RootFS, entry: int) -> None:
        tree = root.tree
        self.table: NodeTable = table
        self.number = entry = tree.inode(entry)
        self._root = root
        self.mode = tree.modes[entry]
        self.uid = tree.uids[entry]
        self.gid = tree.gids[entry]
        self.links = tree.links[entry]
        self.mtime_ns = tree.mtimes[entry]

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self.table.origins

    @property
    def label(self) -> str:
        below = os.fsdecode(self._root.tree.path(self.number))
        return f"{self.table.key}/{below}"

    @property
    def xattrs(self) -> Mapping[bytes, bytes]:
        return self._root.tree.xattrs.get(self.number) or {}


class TreeDirectory(TreeNode, TableDirectory):
    @property
    def parent(self) -> int:
        return self._root.tree.parents[self.number]

    @property
    def count(self) -> int:
        return self._root.tree.counts[self.number]

    def lookup(self, name: bytes) -> Node | None:
        entry = self._root.tree.lookup(self.number, name)
        return None if entry is None else tree_node(self.table, self._root, entry)

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        tree, table, root = self._root.tree, self.table, self._root
        for entry in tree.children(self.number):
            yield tree.name(entry), tree_node(table, root, entry)

    def listed(self, start: int, stop: int) -> Iterable[Listed]:
        tree = self._root.tree
        children = tree.children(self.number)[start:stop]
        part = slice(children.start, children.stop)
        rows = zip(
            tree.names(children),
            children,
            tree.modes[part],
            tree.links[part],
            tree.uids[part],
            tree.gids[part],
            repeat(0),
            tree.sizes[part],
            tree.mtimes[part],
            strict=False,
        )
        special = self.table.links_inside or not tree.same.keys().isdisjoint(children)
        if not special and tree.devices.keys().isdisjoint(children):
            return rows
        return [self._listed(row[1]) if self._is_special(row[1]) else row for row in rows]

    def _is_special(self, entry: int) -> bool:
        """Whether what is listed of an entry is not all in its columns."""
        tree = self._root.tree
        is_link = self.table.links_inside and stat.S_ISLNK(tree.modes[entry])
        return is_link or entry in tree.same or entry in tree.devices

    def _listed(self, entry: int) -> Listed:
        tree = self._root.tree
        node = tree_node(self.table, self._root, entry)
        inode = node.number
        owner = (tree.uids[inode], tree.gids[inode])
        name = tree.name(entry)
        size = len(node.target) if isinstance(node, TreeSymlink) else tree.sizes[inode]
        return name, inode, node.mode, node.links, *owner, node.device, size, node.mtime_ns


class TreeFile(TreeNode, File):
    @property
    def known_size(self) -> int:
        return self._root.tree.sizes[self.number]

    def find_size(self) -> int:
        return self.known_size

    def open(self) -> Blob:
        return self._root.content(self.number)

    def try_open(self) -> Blob | None:
        return self._root.try_content(self.number)


class TreeSymlink(TreeNode, Symlink):
    def __init__(self, table: NodeTable, root: RootFS, entry: int) -> None:
        super().__init__(table, root, entry)
        tree = root.tree
        self.target = (tree.target_inside if table.links_inside else tree.target)(self.number)


class TreeSpecial(TreeNode, Special):
    def __init__(self, table: NodeTable, root: RootFS, entry: int) -> None:
        super().__init__(table, root, entry)
        self.device = os.makedev(*root.tree.devices.get(self.number, (0, 0)))


_KINDS = {stat.S_IFDIR: TreeDirectory, stat.S_IFREG: TreeFile, stat.S_IFLNK: TreeSymlink}


def tree_node(table: NodeTable, root: RootFS, entry: int) -> TreeNode:
    """The node of an entry."""
    return _KINDS.get(stat.S_IFMT(root.tree.modes[entry]), TreeSpecial)(table, root, entry)
