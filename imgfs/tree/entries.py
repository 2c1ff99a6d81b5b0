"""A layer's tree while it is built: directories that hold each other and files, and the columns made of them.

Knows nothing of how members are applied, which is for `build`. Tried by the tests of that.
"""

import stat
from typing import NamedTuple

import msgspec

from imgfs.decoders import msgpack_decoder
from imgfs.tar.member import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    FILES,
    HARDLINK,
    SYMLINK,
    Member,
)
from imgfs.tar.paths import MAX_PATH
from imgfs.tree.tree import DOTTED_NAME, LITERAL_NAME, NO_LAYER, OTHER_NAME, PLAIN_NAME, Tree

_MAJOR, _MINOR = 0xFFF, 0xFFFFF  # as many bits as Linux has for the numbers of a device
TYPES = {
    SYMLINK: stat.S_IFLNK,
    CHARACTER_DEVICE: stat.S_IFCHR,
    BLOCK_DEVICE: stat.S_IFBLK,
    FIFO: stat.S_IFIFO,
} | dict.fromkeys(FILES, stat.S_IFREG)
"""Types of members as in st_mode; those of directories and hard links are not among them."""


class Metadata(NamedTuple):
    """What a hard link may change of the file that it leads to."""

    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: dict[bytes, bytes]


class FileEntry:
    """A file that is no directory; hard links to it are the same object under other names.

    `changed` is what later links made of its metadata, if that is not what its member says. `lower` is the path of
    its target if it is a hard link to what only a lower layer can have. `form` is that of the name that its member has,
    `name` in `directory`.
    """

    __slots__ = ("_kept", "changed", "directory", "form", "lower", "name")

    def __init__(
        self, directory: "DirEntry", name: bytes, member: Member, form: int, lower: bytes = b""
    ) -> None:
        self.directory = directory
        self.name = name
        self._kept = _kept(member)
        self.form = form
        self.lower = lower
        self.changed: Metadata | None = None

    @property
    def member(self) -> Member:
        """The member that it was made for."""
        kept = self._kept
        return kept if isinstance(kept, Member) else msgpack_decoder(Member).decode(kept)

    @property
    def metadata(self) -> Metadata:
        """What counts for all names of the file."""
        if self.changed is not None:
            return self.changed
        of = self.member
        return Metadata(of.mode, of.uid, of.gid, of.mtime_ns, of.xattrs or {})


def _kept(member: Member) -> Member | bytes:
    """A member, packed if it can be: it then takes a hundred bytes and not three hundred."""
    try:
        return member if member.xattrs or member.sparse else msgspec.msgpack.encode(member)
    except OverflowError:  # a number of more than 64 bits
        return member


class DirEntry:
    """A directory: `member` is the last for it, or if it `is_implied` the first one below it."""

    __slots__ = ("children", "form", "is_implied", "length", "member", "parent")

    def __init__(
        self, parent: "DirEntry | None", name: bytes, member: Member | None, form: int, *, is_implied: bool
    ) -> None:
        self.parent = parent
        # of its path, with a slash behind it
        self.length: int = parent.length + len(name) + 1 if parent else 0
        self.member = member
        self.form = form
        self.is_implied = is_implied
        self.children: dict[bytes, DirEntry | FileEntry] = {}


def tree_of(root: DirEntry) -> Tree:
    """The tree below a directory, which is its root."""
    tree = Tree()
    _append(tree, 0, b"", root, root.member, OTHER_NAME)
    waiting, entry = [root], 0
    firsts: dict[int, int] = {}
    # breadth first, so that siblings follow each other: directories come up in the order of their numbers
    depth, last = 0, 0  # of the directories; the number in `waiting` of the last that has it
    for number, directory in enumerate(waiting):
        if number > last:
            depth, last = depth + 1, len(waiting) - 1
        while not tree.is_directory(entry):
            entry += 1
        tree.set_children(entry, len(tree), len(directory.children))
        subdirectories = 0
        for name, child in sorted(directory.children.items()):
            if isinstance(child, DirEntry):
                _append(tree, entry, name, child, child.member, child.form)
                subdirectories += 1
                waiting.append(child)
                continue
            form = child.form if child.directory is directory and child.name == name else OTHER_NAME
            member = child.member  # unpacked for this
            target = _relative(child.lower, depth) if child.lower else member.linkname
            appended = _append(tree, entry, name, child, member, form, target)
            first = firsts.setdefault(id(child), appended)
            if first != appended:
                tree.same[appended] = first
                tree.links[first] += 1
            elif child.lower:
                tree.lower_links[appended] = child.lower
        tree.links[entry] = 2 + subdirectories
        entry += 1
    return tree


def _relative(target: bytes, depth: int) -> bytes:
    """The path of what a hard link leads to, as a symbolic link in a directory so far below the root says it."""
    relative = b"../" * depth + target
    return relative if len(relative) < MAX_PATH else b"/" + target


def form_of(member: Member, path: bytes) -> int:
    """Whether the headers of a member say of what is at a path what it is, and how; see `Tree.forms`."""
    if member.is_literal:
        return LITERAL_NAME
    if member.type == HARDLINK or member.is_adjusted:
        return OTHER_NAME
    stem = member.name.removeprefix(b"./")
    # a slash makes a directory to some tars
    if (stem.rstrip(b"/") if member.type == DIRECTORY else stem) != path:
        return OTHER_NAME
    return PLAIN_NAME if stem is member.name else DOTTED_NAME


def _append(
    tree: Tree,
    parent: int,
    name: bytes,
    node: FileEntry | DirEntry,
    member: Member | None,
    form: int,
    target: bytes = b"",
) -> int:
    """Add an entry, made for `member`; `target` is where it leads if it is a symbolic link, or shown as one."""
    if member is None or (isinstance(node, DirEntry) and node.is_implied):
        mtime = member.mtime_ns if member is not None else 0
        return tree.append(parent, name, stat.S_IFDIR | 0o755, (0, 0), 0, mtime, (NO_LAYER, 0, 0))
    of = (node.changed if isinstance(node, FileEntry) else None) or member
    mode, size = TYPES.get(member.type, stat.S_IFDIR) | of.mode, 0
    if member.type in (SYMLINK, HARDLINK):
        mode, size = stat.S_IFLNK | 0o777, len(target)
    else:
        target = b""
        if member.is_file:
            size = member.size
    number = tree.append(
        parent,
        name,
        mode,
        (of.uid, of.gid),
        size,
        of.mtime_ns,
        (0, member.offset, member.data_offset - member.offset),
        target,
        form=form,
    )
    if of.xattrs:
        tree.xattrs[number] = of.xattrs
    if member.sparse is not None:
        tree.sparse[number] = member.sparse
    if member.type in (CHARACTER_DEVICE, BLOCK_DEVICE):
        tree.devices[number] = (member.devmajor & _MAJOR, member.devminor & _MINOR)
    return number
