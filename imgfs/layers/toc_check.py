"""Comparing a table of contents with the tar that it describes.

Docker unpacks the tar, and a layer that is read by its table shows the table: what differs may be meant to deceive.
Tried by the tests of `toc_layer`.
"""

import stat
from collections.abc import Iterable

from imgfs.blob import Blob, Slice
from imgfs.errors import Corrupt, quoted
from imgfs.layers.hashing import digest_of
from imgfs.layers.toc_entries import Toc
from imgfs.tar import Member
from imgfs.tree import Tree

_Described = tuple[object, ...]


def compare_trees(of_toc: Tree, of_tar: Tree, name: str, other_name: str = "tar") -> None:
    """Raise Corrupt naming the layer by `name` and the first path at which two trees differ.

    `other_name` is what the second is the tree of.
    """
    one, other = _described(of_toc), _described(of_tar)
    for path in sorted(one.keys() | other.keys()):
        if one.get(path) != other.get(path):
            raise Corrupt(f"{name}: its table of contents and its {other_name} differ at {quoted(path)}")


def compare_contents(toc: Toc, members: Iterable[Member], tar: Blob, name: str) -> None:
    """Raise Corrupt if a file in the tar has not the digest that the table has of it, and what reading raises."""
    known = {member.name: member for member in members}
    for path, size, digest, _ in toc.contents:
        member = known.get(path)
        if member is None or digest is None or member.sparse is not None or member.size != size:
            continue
        if digest_of(Slice(tar, member.data_offset, size), digest.algorithm) != digest:
            raise Corrupt(f"{name}: its table of contents has another {quoted(path)} than its tar")


def _described(tree: Tree) -> dict[bytes, _Described]:
    """What counts of each entry, by its path; times in seconds, as eStargz has them."""
    found: dict[bytes, _Described] = {}
    for entry in tree.walk():
        path = tree.path(entry)
        mode, first = tree.modes[entry], tree.inode(entry)
        found[path] = (
            mode,
            tree.uids[entry],
            tree.gids[entry],
            tree.sizes[entry] if stat.S_ISREG(mode) else tree.target(entry),
            tree.mtimes[entry] // 10**9,
            tree.xattrs.get(first) or {},
            tree.devices.get(entry),
            tree.path(first),
        )
    return found
