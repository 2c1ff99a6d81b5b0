"""What one directory that holds a whole root file system changes of another, as the members of a layer.

So keeps containerd's snapshotter native its layers: each is a copy of the one below, with the changes applied. What has
the same type, owner, mode, time, attributes and content in both belongs to the one below.
"""

import os
from collections.abc import Callable
from hashlib import blake2b

from imgfs.errors import Corrupt
from imgfs.layers.directory_scan import ScannedMembers
from imgfs.layers.overlay_members import hiding
from imgfs.tar.member import DIRECTORY, HARDLINK, REGULAR

_MOST = 2_000_000  # entries of a directory; each takes about 200 bytes
_ROOT = b"./"


def changed_members(
    below: Callable[[], ScannedMembers],
    own: Callable[[], ScannedMembers],
    has_same_content: Callable[[bytes], bool],
) -> ScannedMembers:
    """The members of a layer by which `below` becomes `own`; each directory before what is in it.

    `has_same_content` compares a regular file that has the same size in both. Raises Corrupt if there is too much, and
    what these raise.
    """
    before, now = _signatures(below()), _signatures(own())
    changed = {path for path, signature in now.items() if before.get(path) != signature}
    names: dict[bytes, list[bytes]] = {}  # of each file that has several, by the first
    for member, _ in own():
        if member.type == HARDLINK:
            names.setdefault(member.linkname, [member.linkname]).append(member.name)
        elif (
            member.type == REGULAR
            and member.size
            and member.name not in changed
            and not has_same_content(member.name)
        ):
            changed.add(member.name)
    for all_names in names.values():
        if not changed.isdisjoint(all_names):
            changed.update(all_names)
    removed = dict[bytes, list[bytes]]()
    for path in before.keys() - now.keys():
        parent = os.path.dirname(path) or _ROOT
        if parent in now:  # else it goes with its directory
            removed.setdefault(parent, []).append(os.path.basename(path))
    kept = {_ROOT}
    for path in [*changed, *removed]:
        while path and path not in kept:
            kept.add(path)
            path = os.path.dirname(path)
    return _kept(own(), kept, removed)


def _kept(members: ScannedMembers, kept: set[bytes], removed: dict[bytes, list[bytes]]) -> ScannedMembers:
    for member, status in members:
        if member.name not in kept:
            continue
        yield member, status
        if member.type != DIRECTORY:
            continue
        before = b"" if member.name == _ROOT else member.name + b"/"
        for name in sorted(removed.get(member.name, ())):
            yield hiding(before, name, status), status


def _signatures(members: ScannedMembers) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for member, _ in members:
        values = (
            member.type,
            member.mode,
            member.uid,
            member.gid,
            member.mtime_ns,
            member.size,
            member.linkname,
            member.devmajor,
            member.devminor,
            sorted((member.xattrs or {}).items()),
        )
        found[member.name] = blake2b(repr(values).encode(), digest_size=16).digest()
        if len(found) > _MOST:
            raise Corrupt(f"more than {_MOST} files in a directory")
    return found
