"""The user namespaces of a machine's users, which engines run in.

The machine may be a disk that is mounted: the files in /etc that count are those of the directory above a store that
has an etc/passwd. An ordinary user's engine has that user as root, and then the ranges of etc/subuid and etc/subgid, by
their first IDs.
Format: subuid(5); newuidmap(1); containers/storage, pkg/idtools/idtools.go (createIDMap).
"""

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import PurePath

from imgfs.blob import Links, Root
from imgfs.errors import ImgfsError, describe
from imgfs.layers import IDRange, OwnerMap

logger = logging.getLogger("imgfs")

_USERS, _SUBUIDS, _SUBGIDS = "etc/passwd", "etc/subuid", "etc/subgid"
_MAX_FILE = 1 << 20  # bytes
_MAX_RANGES = 340  # that a user namespace has
_USUAL = 65536  # IDs of a user


def rootless_owners(store: Root) -> tuple[OwnerMap, ...]:
    """The user namespace of the engine of the user who owns a store; none for root, or in it.

    Where the user's ranges cannot be found, that is logged, and there is none. Raises OSError.
    """
    status = store.stat()
    if not status.st_uid:
        return ()
    with closing(_machine(store)) as machine:
        names = _names(machine, status.st_uid)
        uids, gids = (_subordinate(machine, name, names) for name in (_SUBUIDS, _SUBGIDS))
        if not uids or not gids:
            logger.warning(
                "%s: owners in containers are shown as on disk: %s and %s have no ranges of user %d",
                store.path,
                machine.path_of(_SUBUIDS),
                machine.path_of(_SUBGIDS),
                status.st_uid,
            )
            return ()
    return (
        OwnerMap(
            (IDRange(0, status.st_uid, 1), *_from(1, uids)), (IDRange(0, status.st_gid, 1), *_from(1, gids))
        ),
    )


def remapped_owners(store: Root, uid: int, gid: int) -> OwnerMap:
    """The user namespace whose root is `uid` and `gid`: the ranges that begin with these, or of the usual size."""
    with closing(_machine(store)) as machine:
        found = []
        for name, first in ((_SUBUIDS, uid), (_SUBGIDS, gid)):
            owners = {owner for owner, start, _ in _lines(machine, name) if start == first}
            ranges = _subordinate(machine, name, owners)
            found.append(ranges if ranges and ranges[0][0] == first else [(first, _USUAL)])
    return OwnerMap(*(tuple(_from(0, ranges)) for ranges in found))


def _machine(store: Root) -> Root:
    """The root directory of the machine that a store is on."""
    for path in PurePath(store.path).parents:
        root = Root(path, Links.INSIDE)
        if root.exists(_USERS):
            return root
        root.close()
    return Root("/", Links.INSIDE)


def _names(machine: Root, uid: int) -> set[str]:
    """What a user is called in the files of subordinate IDs: by name or by number."""
    users = (line.split(":") for line in _text(machine, _USERS).splitlines())
    return {str(uid), *(user[0] for user in users if user[2:3] == [str(uid)])}


def _subordinate(machine: Root, name: str, owners: set[str]) -> list[tuple[int, int]]:
    found = sorted((start, size) for owner, start, size in _lines(machine, name) if owner in owners)
    return found[:_MAX_RANGES]


def _from(inside: int, ranges: list[tuple[int, int]]) -> Iterator[IDRange]:
    for start, size in ranges:
        yield IDRange(inside, start, size)
        inside += size


def _lines(machine: Root, name: str) -> Iterator[tuple[str, int, int]]:
    for line in _text(machine, name).splitlines():
        owner, *numbers = line.split(":")
        if len(numbers) == 2 and all(
            each.isascii() and each.isdigit() and len(each) < 11 for each in numbers
        ):
            yield owner, int(numbers[0]), int(numbers[1])


def _text(machine: Root, name: str) -> str:
    """What a file has; one that cannot be read is logged."""
    try:
        return machine.read(name, _MAX_FILE).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    except (ImgfsError, OSError) as error:
        logger.warning("%s: ignored: %s", machine.path_of(name), describe(error))
        return ""
