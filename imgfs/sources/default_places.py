"""What decides which stores a machine has in their default places, besides what is in these stores.

Tried by the tests of `imgfs locate`, which keeps what it found for as long as none of this changes.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

_WITHOUT_CONFIGURATION = ("imgfs", "oci", "oci-archive", "docker-archive", "containerd")


def watched_places(references: Sequence[str], absent: Iterable[str]) -> Iterator[str]:
    """The paths of files that say where stores are, and of what changes when a store appears.

    `references` are those of the sources that were asked for, and `absent` of those that could not be opened.
    """
    # kinds of sources are imported for what needs them
    schemes = {reference.partition(":")[0] for reference in references}
    if not schemes.issubset({*_WITHOUT_CONFIGURATION, "containers-storage"}):
        from imgfs.sources import docker

        yield from docker.CONFIGURATIONS
    if not schemes.issubset({*_WITHOUT_CONFIGURATION, "docker"}):
        from imgfs.sources import containers_storage

        yield from containers_storage.configurations()
    for reference in absent:
        scheme, _, place = reference.partition(":")
        roots = [place.partition("#")[0]] if place else _default_roots(scheme)
        for root in roots:
            yield from (root, os.path.dirname(root))
            # an engine makes directories in it before there are images
            yield from _directories(root)
            yield from _directories(os.path.join(root, "image"))


def _default_roots(scheme: str) -> list[str]:
    from imgfs.sources import containerd, containers_storage, docker, own

    match scheme:
        case "docker":
            return [docker.data_root("/")]
        case "containerd":
            return [containerd.DEFAULT_ROOT]
        case "containers-storage":
            storage = containers_storage.default_storage()
            return [storage.graph_root, *storage.additional]
        case _:
            return [own.default_path()]


def _directories(path: str) -> Iterator[str]:
    with suppress(OSError), os.scandir(path) as entries:
        yield from [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
