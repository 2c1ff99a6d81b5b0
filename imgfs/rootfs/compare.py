"""What differs between two trees, by path.

Times do not count: a rebuilt image has new ones everywhere. Files of one size are read and compared, unless both
are the same place in the same layer.
"""

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from heapq import merge

from imgfs.blob import Blob
from imgfs.digest import DiffID
from imgfs.rootfs.loaded import LoadedTree
from imgfs.tree import Tree

_CHUNK = 1 << 20
_SMALL_HOLE = 64 << 10  # bytes of zeros, which are faster made and compared than a range is read


class Change(StrEnum):
    """What happened to a path."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class State:
    """What a path is on one side: `mode` as in st_mode, `size` in bytes, `target` of a symbolic link."""

    mode: int
    uid: int
    gid: int
    size: int
    target: bytes = b""


@dataclass(frozen=True, slots=True)
class Difference:
    """A path, without a slash before it, that is not the same on both sides.

    `differs` says in what it is not, if it is on both.
    """

    path: bytes
    change: Change
    before: State | None
    after: State | None
    differs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Side:
    """A tree to compare, and the diff IDs of its layers, bottom first."""

    loaded: LoadedTree
    diff_ids: Sequence[DiffID]

    def state(self, entry: int) -> State:
        """What an entry is."""
        tree = self.loaded.tree
        inode = tree.inode(entry)
        target = tree.target(inode) if stat.S_ISLNK(tree.modes[inode]) else b""
        return State(tree.modes[inode], tree.uids[inode], tree.gids[inode], tree.sizes[inode], target)

    def children(self, entry: int | None) -> dict[bytes, int]:
        """What is in a directory, by name; nothing in anything else."""
        tree = self.loaded.tree
        return {} if entry is None else {tree.name(child): child for child in tree.children(entry)}

    def place(self, entry: int) -> tuple[DiffID, int] | None:
        """Where an entry's member lies; None for a directory that no layer has."""
        tree = self.loaded.tree
        inode = tree.inode(entry)
        layer = tree.layers[inode]
        return (self.diff_ids[layer], tree.records[inode]) if layer < len(self.diff_ids) else None


def differences(before: Side, after: Side) -> Iterator[Difference]:
    """Every path that differs, directories before what is in them. Raises what reading files raises."""
    # the path of what something is in, its name, its entries on both sides
    waiting: list[tuple[bytes, bytes, int | None, int | None]] = [(b"", b"", 0, 0)]
    while waiting:
        above, last, old, new = waiting.pop()
        path = above + last
        difference = _difference(path, before, old, after, new)
        if difference is not None:
            yield difference
        olds, news = before.children(old), after.children(new)
        below = path + b"/" if path else b""
        for name in sorted(olds.keys() | news.keys(), reverse=True):
            waiting.append((below, name, olds.get(name), news.get(name)))


def _difference(
    path: bytes, before: Side, old: int | None, after: Side, new: int | None
) -> Difference | None:
    if old is None or new is None:
        was = None if old is None else before.state(old)
        now = None if new is None else after.state(new)
        return Difference(path, Change.REMOVED if now is None else Change.ADDED, was, now)
    place = before.place(old)
    if place is not None and place == after.place(new):
        return None
    was, now = before.state(old), after.state(new)
    differs = list(_what_differs(before, old, was, after, new, now))
    return Difference(path, Change.CHANGED, was, now, differs) if differs else None


def _what_differs(before: Side, old: int, was: State, after: Side, new: int, now: State) -> Iterator[str]:
    if stat.S_IFMT(was.mode) != stat.S_IFMT(now.mode):
        yield "type"
        return
    if was.mode != now.mode:
        yield "mode"
    if (was.uid, was.gid) != (now.uid, now.gid):
        yield "owner"
    first, second = before.loaded.tree, after.loaded.tree
    one, other = first.inode(old), second.inode(new)
    if first.xattrs.get(one, {}) != second.xattrs.get(other, {}):
        yield "xattrs"
    if was.target != now.target:
        yield "target"
    if first.devices.get(one) != second.devices.get(other):
        yield "device"
    if stat.S_ISREG(was.mode) and (was.size != now.size or not _same(before, one, after, other)):
        yield "content"


def _same(before: Side, one: int, after: Side, other: int) -> bool:
    """Whether two files of one size have the same bytes; what is a hole in both is not read."""
    ranges = _stored_ranges(before.loaded.tree, one, after.loaded.tree, other)
    with before.loaded.content(one) as first, after.loaded.content(other) as second:
        return all(_equal(first, second, start, end) for start, end in ranges)


def _equal(first: Blob, second: Blob, offset: int, end: int) -> bool:
    """Whether two blobs have the same bytes between two offsets."""
    while offset < end:
        size = min(_CHUNK, end - offset)
        chunk = first.pread(size, offset)
        if second.pread(size, offset) != chunk:
            return False
        if not chunk:
            break  # the tars of both are cut off
        offset += size
    return True


def _stored_ranges(first: Tree, one: int, second: Tree, other: int) -> Iterator[tuple[int, int]]:
    """Start and end of what is no hole in both of two files, in order; small holes are included."""
    parts, others = (
        tree.sparse.get(entry, [(0, tree.sizes[entry])]) for tree, entry in ((first, one), (second, other))
    )
    start = end = 0
    for offset, length in merge(parts, others):
        if offset > end + _SMALL_HOLE:
            yield start, end
            start = offset
        end = max(end, offset + length)
    yield start, end
