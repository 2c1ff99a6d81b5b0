"""One layer's tree as the tar that a program in Go may have made of it: members sorted by their names.

Tried by the tests of `rebuilt_layer`.
"""

import stat
from collections.abc import Iterator

from imgfs.tar.go_writer import Writer, go_header
from imgfs.tar.member import DIRECTORY, REGULAR, TYPES, member_of_file
from imgfs.tree.flat import FlatPlan
from imgfs.tree.tree import Tree
from imgfs.tree.whiteouts import WHITEOUT


class RebuiltPlan(FlatPlan):
    """The tar that `writer` makes of a layer, for `AssembledBlob`. Raises as `FlatPlan` does."""

    _copies_headers = False

    def __init__(self, tree: Tree, writer: Writer) -> None:
        self._writer = writer
        super().__init__(tree)

    def _order(self) -> Iterator[int]:
        return self._tree.walk()

    def _headers(self, inode: int, path: bytes, kind: bytes, link: bytes) -> bytes:
        tree = self._tree
        mode = tree.modes[inode]
        size = tree.sizes[inode] if kind == REGULAR else 0
        member = member_of_file(
            kind,
            path + b"/" if kind == DIRECTORY else path,
            link,
            mode=mode,
            uid=tree.uids[inode],
            gid=tree.gids[inode],
            size=size,
            mtime_ns=tree.mtimes[inode],
            device=tree.devices.get(inode, (0, 0)),
            xattrs=tree.xattrs.get(inode),
        )
        return go_header(member, TYPES[stat.S_IFMT(mode)], self._writer)


def why_not(tree: Tree) -> str | None:
    """Why nothing that a layer's tree says leads to its tar; None if that may be."""
    if WHITEOUT in tree.names_text or (0, 0) in tree.devices.values():
        return "the times of its whiteouts are not known"
    return None
