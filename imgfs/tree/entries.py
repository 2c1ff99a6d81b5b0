"""What a layer unpacks to while its tree is built: directories that hold each other, and rows of columns.

Every entry has a row in the columns, in the order in which members made them; `tree_of` brings the rows into the order
of a tree. Knows nothing of how members are applied, which is for `build`. Tried by the tests of that.
"""

import stat
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, repeat
from typing import NamedTuple, TypeVar

from imgfs.tar.fields import is_possible, possible_owner, possible_time
from imgfs.tar.member import BLOCK_DEVICE, CHARACTER_DEVICE, DIRECTORY, FIFO, FILES, HARDLINK, Member
from imgfs.tar.paths import MAX_PATH
from imgfs.tree.tree import DOTTED_NAME, LITERAL_NAME, NO_LAYER, OTHER_NAME, PLAIN_NAME, Columns, Tree

_MAJOR, _MINOR = 0xFFF, 0xFFFFF  # as many bits as Linux has for the numbers of a device
_COLUMNS = ("modes", "uids", "gids", "sizes", "mtimes", "layers", "records", "headers", "forms")
_DEVICES = frozenset((CHARACTER_DEVICE, BLOCK_DEVICE))
MODES = {
    CHARACTER_DEVICE: stat.S_IFCHR,
    BLOCK_DEVICE: stat.S_IFBLK,
    FIFO: stat.S_IFIFO,
} | dict.fromkeys(FILES, stat.S_IFREG)
"""Types of members as in st_mode, of those that stand for a file that is no symbolic link."""

_Value = TypeVar("_Value")


class DirEntry:
    """A directory with the entries in it: those that are no directories are rows, one row for all names of a file.

    If it `is_implied`, there is no member for it, only members below it.
    """

    __slots__ = ("children", "is_implied", "length", "parent", "row")

    def __init__(self, parent: "DirEntry | None", name: bytes, row: int, *, is_implied: bool) -> None:
        self.parent = parent
        # of its path, with a slash behind it
        self.length: int = parent.length + len(name) + 1 if parent else 0
        self.row = row
        self.is_implied = is_implied
        self.children: dict[bytes, DirEntry | int] = {}


class Rows(Columns):
    """Columns of what members made, and by row what only some have.

    `targets` are those of symbolic links. `lower` are the paths that hard links lead to which only a lower layer can
    have. `first_names` are the directory and the name that a file with several names had first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.targets: dict[int, bytes] = {}
        self.lower: dict[int, bytes] = {}
        self.first_names: dict[int, tuple[DirEntry, bytes]] = {}

    def add(self, member: Member, form: int, mode: int, size: int) -> int:
        """Add what a member is for, with a mode that includes its type; returns its row."""
        row = len(self.modes)
        uid, gid, mtime = member.uid, member.gid, member.mtime_ns
        if not is_possible(uid, gid, mtime):
            uid, gid, mtime = possible_owner(uid), possible_owner(gid), possible_time(mtime)
        self.modes.append(mode)
        self.uids.append(uid)
        self.gids.append(gid)
        self.sizes.append(size)
        self.mtimes.append(mtime)
        self.layers.append(0)
        self.records.append(member.offset)
        self.headers.append(member.data_offset - member.offset)
        self.forms.append(form)
        if member.xattrs:
            self.xattrs[row] = member.xattrs
        if member.sparse is not None:
            self.sparse[row] = member.sparse
        if member.type in _DEVICES:
            self.devices[row] = (member.devmajor & _MAJOR, member.devminor & _MINOR)
        return row

    def add_symlink(self, member: Member, form: int) -> int:
        """Add a symbolic link; returns its row."""
        row = self.add(member, form, stat.S_IFLNK | 0o777, 0)
        self.targets[row] = member.linkname
        return row

    def add_lower(self, member: Member, target: bytes) -> int:
        """Add a hard link to the path of what only a lower layer can have; returns its row."""
        row = self.add(member, OTHER_NAME, stat.S_IFLNK | 0o777, 0)
        self.lower[row] = target
        return row

    def add_implied(self, mtime_ns: int) -> int:
        """Add a directory that no member is for; returns its row."""
        values = (stat.S_IFDIR | 0o755, 0, 0, 0, possible_time(mtime_ns), NO_LAYER, 0, 0, OTHER_NAME)
        for name, value in zip(_COLUMNS, values, strict=True):
            getattr(self, name).append(value)
        return len(self.modes) - 1

    def set_directory(self, row: int, member: Member, form: int, xattrs: dict[bytes, bytes]) -> None:
        """Make a directory what a later member says that it is."""
        self.layers[row] = 0
        self.records[row] = member.offset
        self.headers[row] = member.data_offset - member.offset
        self.forms[row] = form
        self.set_metadata(row, member, xattrs)

    def set_metadata(self, row: int, member: Member, xattrs: dict[bytes, bytes]) -> None:
        """Give an entry the mode, the owner and the time of another member, and these attributes."""
        self.modes[row] = stat.S_IFMT(self.modes[row]) | member.mode
        self.mtimes[row] = possible_time(member.mtime_ns)
        self.set_owner(row, member, xattrs)

    def set_owner(self, row: int, member: Member, xattrs: dict[bytes, bytes]) -> None:
        """Give an entry the owner of another member, and these attributes."""
        self.uids[row], self.gids[row] = possible_owner(member.uid), possible_owner(member.gid)
        if xattrs:
            self.xattrs[row] = xattrs
        else:
            self.xattrs.pop(row, None)

    def metadata(self, row: int) -> object:
        """What a hard link may change of a file, to be compared."""
        return self.modes[row], self.uids[row], self.gids[row], self.mtimes[row], self.xattrs.get(row, {})


class _Named(NamedTuple):
    """A name of what may have several, or is a hard link to a lower layer: its entry, and where that is."""

    entry: int
    directory: DirEntry
    name: bytes
    depth: int


def tree_of(root: DirEntry, rows: Rows) -> Tree:
    """The tree below a directory, which is its root."""
    tree = Tree()
    order, names = array("Q", [root.row]), [b""]  # the row and the name of each entry
    tree.parents.append(0)
    linked, named = rows.first_names.keys() | rows.lower.keys(), list[_Named]()
    # breadth first, so that siblings follow each other
    waiting, entries, depths = [root], [0], [0]
    for directory, entry, depth in zip(waiting, entries, depths, strict=True):  # which grow meanwhile
        children = sorted(directory.children.items())
        tree.parents.extend(repeat(entry, len(children)))
        for name, child in children:
            if isinstance(child, DirEntry):
                waiting.append(child)
                entries.append(len(order))
                depths.append(depth + 1)
                order.append(child.row)
            else:
                if child in linked:
                    named.append(_Named(len(order), directory, name, depth))
                order.append(child)
            names.append(name)
    tree.names_text += b"".join(names)
    tree.name_ends.extend(accumulate(map(len, names)))
    for column in _COLUMNS:
        getattr(tree, column).extend(map(getattr(rows, column).__getitem__, order))
    _set_children(tree, waiting, entries)
    _set_rare(tree, rows, order)
    _set_links(tree, rows, order, named)
    return tree


def _set_children(tree: Tree, directories: Iterable[DirEntry], entries: Iterable[int]) -> None:
    """Say which entries are the children of each directory, whose entries these are, breadth first."""
    none = array("Q", bytes(8 * len(tree.modes)))
    tree.firsts, tree.counts, tree.links = none, array("I", none), array("I", [1]) * len(none)
    first = 1
    for directory, entry in zip(directories, entries, strict=True):
        count = len(directory.children)
        tree.set_children(entry, first, count)
        tree.links[entry] = 2 + sum(isinstance(child, DirEntry) for child in directory.children.values())
        first += count


def _set_rare(tree: Tree, rows: Rows, order: Sequence[int]) -> None:
    """Give entries, whose rows these are, what only some have."""
    tree.xattrs = _by_entry(rows.xattrs, order)
    tree.devices = _by_entry(rows.devices, order)
    tree.sparse = _by_entry(rows.sparse, order)
    for entry, target in _by_entry(rows.targets, order).items():
        _set_target(tree, entry, target)


def _by_entry(by_row: Mapping[int, _Value], order: Sequence[int]) -> dict[int, _Value]:
    """What some entries have, by entry, of what it is by row."""
    return {entry: by_row[row] for entry, row in enumerate(order) if row in by_row} if by_row else {}


def _set_links(tree: Tree, rows: Rows, order: Sequence[int], named: Iterable[_Named]) -> None:
    firsts: dict[int, int] = {}  # of a row, the entry that is its first name here
    for entry, directory, name, depth in named:
        row = order[entry]
        first = firsts.setdefault(row, entry)
        if first != entry:
            tree.same[entry] = first
            tree.links[first] += 1
        if rows.first_names.get(row, (directory, name)) != (directory, name):
            tree.forms[entry] = OTHER_NAME
        lower = rows.lower.get(row)
        if lower is not None:
            if first == entry:
                tree.lower_links[entry] = lower
            _set_target(tree, entry, _relative(lower, depth))


def _set_target(tree: Tree, entry: int, target: bytes) -> None:
    tree.firsts[entry], tree.sizes[entry] = len(tree.targets_text), len(target)
    tree.targets_text += target


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
