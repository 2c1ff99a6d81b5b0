"""The owners that a container sees, where its user namespace numbers users otherwise than its machine does.

Format: user_namespaces(7); for capabilities of files, capabilities(7), and Linux, security/commoncap.c.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from imgfs.layers.directory_scan import ScannedMembers

OVERFLOW = 65534
"""The ID that the kernel shows, and engines export, for one that a user namespace does not have."""

_MAX_ID = (1 << 32) - 2  # the one above stands for no ID
_CAPABILITY = b"security.capability"
_REVISION_2, _REVISION_3 = 0x02, 0x03  # the last byte of the first word; a third one has who is root, too
_WORDS = 20  # bytes of what both have


class IDRange(NamedTuple):
    """`size` IDs, from `inside` in a user namespace and from `outside` around it."""

    inside: int
    outside: int
    size: int


class OwnerMap(msgspec.Struct, frozen=True):
    """The users and groups that a user namespace has."""

    uids: tuple[IDRange, ...]
    gids: tuple[IDRange, ...]


def mapped(members: ScannedMembers, maps: Sequence[OwnerMap]) -> ScannedMembers:
    """Members with the owners that are seen in the last of some user namespaces, each in the one before it."""
    users, groups = [each.uids for each in maps], [each.gids for each in maps]

    @lru_cache(1000)
    def inside(number: int, *, of_users: bool) -> int:
        for ranges in users if of_users else groups:
            number = next(_inside(number, ranges), OVERFLOW)
        return number

    for member, status in members:
        member.uid, member.gid = inside(member.uid, of_users=True), inside(member.gid, of_users=False)
        value = (member.xattrs or {}).get(_CAPABILITY, b"")
        is_of_root = (
            len(value) == _WORDS + 4
            and value[3] == _REVISION_3
            and inside(int.from_bytes(value[_WORDS:], "little"), of_users=True) == 0
        )
        if member.xattrs and is_of_root:  # as the kernel shows it there
            plain = value[:3] + bytes([_REVISION_2]) + value[4:_WORDS]
            member.xattrs = {**member.xattrs, _CAPABILITY: plain}
        yield member, status


def _inside(number: int, ranges: Sequence[IDRange]) -> Iterator[int]:
    for each in ranges:
        found = each.inside + number - each.outside
        if 0 <= number - each.outside < each.size and 0 <= found <= _MAX_ID:
            yield found
