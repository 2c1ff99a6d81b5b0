"""Finding the container that a person means among those of some sources.

Tried by the tests of names on the command line.
"""

from imgfs.errors import AmbiguousID, AmbiguousName, printable
from imgfs.sources.image_reference import in_source
from imgfs.sources.union import ContainerAt, Snapshot

PREFIX = "container:"
"""Stands before the name of a container that may be an image's, too, as in `docker run --network container:NAME`."""

_SHORT = 12


def named_container(term: str, snapshot: Snapshot) -> ContainerAt | None:
    """The container that has this name or ID. Raises AmbiguousName if several sources have one of the name."""
    if term in snapshot.containers:
        return snapshot.containers[term]
    name = printable(term)
    found = {
        container_id: at
        for container_id, at in snapshot.containers.items()
        if name and printable(at.found.container.name) == name
    }
    if len(found) > 1:
        which = " or ".join(
            f"{in_source(at.source.reference, name)} ({container_id[:_SHORT]})"
            for container_id, at in found.items()
        )
        raise AmbiguousName(f"{name} is the name of different containers; choose {printable(which)}")
    return next(iter(found.values()), None)


def find_container(term: str, snapshot: Snapshot) -> ContainerAt | None:
    """The container that has this name or ID, or whose ID alone begins so.

    Raises AmbiguousName, and AmbiguousID if several IDs do.
    """
    found = named_container(term, snapshot)
    if found is not None or not term:
        return found
    meant = [at for container_id, at in snapshot.containers.items() if container_id.startswith(term)]
    if len(meant) > 1:
        raise AmbiguousID(term)
    return meant[0] if meant else None
