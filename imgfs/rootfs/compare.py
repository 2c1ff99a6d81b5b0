"""What differs between two trees, by path.

Times do not count: a rebuilt image has new ones everywhere. Files of one size are the same if they are the
same place in the same layer; else their digests are compared if both are known, and if not, what is in them.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from enum import StrEnum
from heapq import merge

import msgspec

from imgfs.blob import Blob
from imgfs.rootfs.rootfs import RootFS, Stat
from imgfs.tree import Tree

_CHUNK = 1 << 20
_SMALL_HOLE = 64 << 10  # bytes of zeros, which are faster made and compared than a range is read


class Change(StrEnum):
    """What happened to a path."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Difference(msgspec.Struct, frozen=True):
    """A path that is not the same on both sides; `differs` says in what, if it is on both."""

    path: str
    change: Change
    before: Stat | None
    after: Stat | None
    differs: Sequence[str] = ()


def differences(before: RootFS, after: RootFS) -> Iterator[Difference]:
    """Every path that differs, directories before what is in them. Raises what reading files raises."""
    # the path of what something is in, its name, its entries on both sides
    waiting: list[tuple[bytes, bytes, int | None, int | None]] = [(b"", b"", 0, 0)]
    while waiting:
        above, last, old, new = waiting.pop()
        path = above + last
        difference = _difference(path, before, old, after, new)
        if difference is not None:
            yield difference
        olds, news = children(before.tree, old), children(after.tree, new)
        below = path + b"/" if path else b""
        for name in sorted(olds.keys() | news.keys(), reverse=True):
            waiting.append((below, name, olds.get(name), news.get(name)))


def children(tree: Tree, entry: int | None) -> dict[bytes, int]:
    """What is in a directory, by name; nothing in anything else, nor in None."""
    return {} if entry is None else {tree.name(child): child for child in tree.children(entry)}


def is_same_place(before: RootFS, old: int | None, after: RootFS, new: int | None) -> bool:
    """Whether entries of both sides are the same place in the same layer."""
    if old is None or new is None:
        return False
    place = before.place(before.tree.inode(old))
    return place is not None and place == after.place(after.tree.inode(new))


def stat_in(root: RootFS, entry: int | None) -> Stat | None:
    """What is at an entry, or another name of its file; None for no entry."""
    return None if entry is None else root.stat_entry(root.tree.inode(entry))


def _difference(
    path: bytes, before: RootFS, old: int | None, after: RootFS, new: int | None
) -> Difference | None:
    if is_same_place(before, old, after, new):
        return None
    was, now = stat_in(before, old), stat_in(after, new)
    shown = os.fsdecode(b"/" + path)
    if was is None or now is None:
        return Difference(shown, Change.REMOVED if now is None else Change.ADDED, was, now)
    differs = list(_what_differs(before, was, after, now))
    return Difference(shown, Change.CHANGED, was, now, differs) if differs else None


def _what_differs(before: RootFS, was: Stat, after: RootFS, now: Stat) -> Iterator[str]:
    if stat.S_IFMT(was.mode) != stat.S_IFMT(now.mode):
        yield "type"
        return
    if was.mode != now.mode:
        yield "mode"
    if (was.uid, was.gid) != (now.uid, now.gid):
        yield "owner"
    if was.xattrs != now.xattrs:
        yield "xattrs"
    if was.target != now.target:
        yield "target"
    if was.device != now.device:
        yield "device"
    if stat.S_ISREG(was.mode) and (was.size != now.size or not _same(before, was.inode, after, now.inode)):
        yield "content"


def _same(before: RootFS, one: int, after: RootFS, other: int) -> bool:
    """Whether two files of one size have the same bytes; read as far as digests or holes do not say it."""
    if not before.tree.sizes[one]:
        return True
    digest = before.digest(one)
    known = after.digest(other) if digest is not None else None
    if known is not None:
        return digest == known
    ranges = _stored_ranges(before.tree, one, after.tree, other)
    with before.content(one) as first, after.content(other) as second:
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
