"""Layers while they are merged: directories that hold each other and files, and the tree that they make in the end.

Knows nothing of how layers are merged (`merge`).
"""

import stat

from imgfs.tar.member import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    FILES,
    SYMLINK,
    Member,
)
from imgfs.tar.tree import DOTTED_NAME, NO_LAYER, OTHER_NAME, PLAIN_NAME, Tree

_MAJOR, _MINOR = 0xFFF, 0xFFFFF  # as many bits as Linux has for the numbers of a device
TYPES = {
    SYMLINK: stat.S_IFLNK,
    CHARACTER_DEVICE: stat.S_IFCHR,
    BLOCK_DEVICE: stat.S_IFBLK,
    FIFO: stat.S_IFIFO,
} | dict.fromkeys(FILES, stat.S_IFREG)
"""Types of members as in st_mode; those of directories and hard links are not among them."""


class Leaf:
    """A file that is no directory; hard links to it are the same object under other names."""

    __slots__ = ("layer", "member")

    def __init__(self, layer: int, member: Member) -> None:
        self.layer = layer
        self.member = member


class Branch:
    """A directory: `member` is the latest for it, or if `layer` is NO_LAYER the first one below it."""

    __slots__ = (
        *("children", "cleared", "fresh", "fresh_layer", "layer"),
        *("length", "member", "name", "parent", "touched"),
    )

    def __init__(self, parent: "Branch | None", name: bytes, layer: int, member: Member | None) -> None:
        self.parent = parent
        self.name = name
        # of its path, with a slash behind it
        self.length: int = parent.length + len(name) + 1 if parent else 0
        self.layer = layer
        self.member = member
        self.children: dict[bytes, Branch | Leaf] = {}
        self.fresh: set[bytes] | None = None  # children that are no directories and that `fresh_layer` has
        self.fresh_layer = -1
        self.touched = -1  # the latest layer that has it or something below it
        self.cleared = -1  # the latest layer that removed what lower ones have in it, at any depth

    def path(self) -> bytes:
        """Its path from the root, with a slash behind each name."""
        names = []
        branch = self
        while branch.parent is not None:
            names.append(branch.name + b"/")
            branch = branch.parent
        return b"".join(reversed(names))


def tree_of(root: Branch) -> Tree:
    """The tree below a directory, which is its root."""
    tree = Tree()
    _append(tree, 0, b"", root)
    waiting, entry = [root], 0
    firsts: dict[int, int] = {}
    # breadth first, so that siblings follow each other: directories come up in the order of their numbers
    for branch in waiting:
        while not tree.is_directory(entry):
            entry += 1
        tree.set_children(entry, len(tree), len(branch.children))
        subdirectories = 0
        before: bytes | None = None  # worked out where it matters: there can be very many long ones
        for name, child in sorted(branch.children.items()):
            stem, form = _stem(child)
            if len(stem) == branch.length + len(name):
                before = branch.path() if before is None else before
                form = form if stem == before + name else OTHER_NAME
            else:
                form = OTHER_NAME
            number = _append(tree, entry, name, child, form)
            if isinstance(child, Branch):
                subdirectories += 1
                waiting.append(child)
            elif (first := firsts.setdefault(id(child), number)) != number:
                tree.same[number] = first
                tree.links[first] += 1
        tree.links[entry] = 2 + subdirectories
        entry += 1
    return tree


def _stem(node: Leaf | Branch) -> tuple[bytes, int]:
    """The path that the headers of an entry say, without what does not matter, and its form.

    The path is empty if there are none, or if they say what is not so.
    """
    member = node.member
    if member is None or node.layer == NO_LAYER or member.is_adjusted:
        return b"", OTHER_NAME
    stem = member.name.removeprefix(b"./")
    form = PLAIN_NAME if stem is member.name else DOTTED_NAME
    return stem.rstrip(
        b"/"
    ) if member.type == DIRECTORY else stem, form  # a slash makes a directory to some tars


def _append(tree: Tree, parent: int, name: bytes, node: Leaf | Branch, form: int = OTHER_NAME) -> int:
    member = node.member
    if member is None or node.layer == NO_LAYER:
        mtime = member.mtime_ns if member is not None else 0
        return tree.append(parent, name, stat.S_IFDIR | 0o755, (0, 0), 0, mtime, (NO_LAYER, 0, 0))
    kind, size, target = TYPES.get(member.type, stat.S_IFDIR) | member.mode, 0, b""
    if member.type == SYMLINK:
        kind, size, target = stat.S_IFLNK | 0o777, len(member.linkname), member.linkname
    elif member.is_file:
        size = member.size
    number = tree.append(
        parent,
        name,
        kind,
        (member.uid, member.gid),
        size,
        member.mtime_ns,
        (node.layer, member.offset, member.data_offset - member.offset),
        target,
        form=form,
    )
    if member.xattrs:
        tree.xattrs[number] = member.xattrs
    if member.sparse is not None:
        tree.sparse[number] = member.sparse
    if member.type in (CHARACTER_DEVICE, BLOCK_DEVICE):
        tree.devices[number] = (member.devmajor & _MAJOR, member.devminor & _MINOR)
    return number
