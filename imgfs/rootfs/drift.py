"""What a container changed of its image, as `docker diff` lists it.

As moby's archive package compares two directories (ChangesDirs): by metadata alone, so that no file is read. A name has
changed if its type, mode, owner, device number or capabilities differ, or of what is no directory the size or the time;
times are equal if they are in one second of which one of them has no fraction. A directory in which something changed
has changed, but not the root. What is in a directory that is gone, or has become something else, is not listed.
"""

import os
import stat
from collections.abc import Iterator

from imgfs.rootfs.compare import Change, Difference, children, is_same_place, stat_in
from imgfs.rootfs.rootfs import RootFS, Stat

_CAPABILITY = b"security.capability"
_SECOND = 1_000_000_000


def drift(before: RootFS, after: RootFS) -> Iterator[Difference]:
    """Every path that differs, sorted by the names in it, directories before what is in them.

    Raises what making the trees raises.
    """
    # how deep something lies, its path, its entries on both sides
    waiting: list[tuple[int, bytes, int | None, int | None]] = [(0, b"", 0, 0)]
    way: list[Difference | None] = []  # the directories above it, None for those that were returned
    while waiting:
        depth, path, old, new = waiting.pop()
        del way[depth:]
        found = _compared(path, before, old, after, new) if depth else None
        if found is not None and (found.change is not Change.CHANGED or found.differs):
            yield from filter(None, way)
            yield found
            way, found = [None] * depth, None
        way.append(found)
        if new is None or not after.tree.is_directory(new):
            continue
        olds, news = children(before.tree, old), children(after.tree, new)
        below = path + b"/" if path else b""
        for name in sorted(olds.keys() | news.keys(), reverse=True):
            waiting.append((depth + 1, below + name, olds.get(name), news.get(name)))


def _compared(
    path: bytes, before: RootFS, old: int | None, after: RootFS, new: int | None
) -> Difference | None:
    """What is at a path on both sides; None for what is no directory and is the same place in a layer."""
    is_directory = new is not None and after.tree.is_directory(new)
    if not is_directory and is_same_place(before, old, after, new):
        return None
    was, now = stat_in(before, old), stat_in(after, new)
    change = Change.ADDED if was is None else Change.REMOVED if now is None else Change.CHANGED
    differs = [] if was is None or now is None else list(_what_differs(was, now))
    return Difference(os.fsdecode(b"/" + path), change, was, now, differs)


def _what_differs(was: Stat, now: Stat) -> Iterator[str]:
    if stat.S_IFMT(was.mode) != stat.S_IFMT(now.mode):
        yield "type"
    elif was.mode != now.mode:
        yield "mode"
    if (was.uid, was.gid) != (now.uid, now.gid):
        yield "owner"
    if was.device != now.device:
        yield "device"
    if was.xattrs.get(_CAPABILITY) != now.xattrs.get(_CAPABILITY):
        yield "xattrs"
    if not stat.S_ISDIR(now.mode):
        if was.size != now.size:
            yield "size"
        if not _is_same_time(was.mtime_ns, now.mtime_ns):
            yield "time"


def _is_same_time(one: int, other: int) -> bool:
    has_none = not one % _SECOND or not other % _SECOND
    return one == other or (one // _SECOND == other // _SECOND and has_none)
