"""Where the images of a Docker lie: in stores of its own below its data root, and in a containerd.

A machine's data root is /var/lib/docker, or what its daemon.json says. With `userns-remap`, Docker uses ROOT/UID.GID in
place of ROOT. In containerd, its images are in the namespace `moby`, or `moby-UID.GID`. If the machine has no
containerd, Docker runs one of its own in ROOT/containerd/daemon, or ROOT/UID.GID/containerd/daemon; that of a machine
is /var/lib/containerd, or what its config.toml says. The machine may be a disk that is mounted: its own files count,
and paths in them start at its top.
Format: moby, daemon/daemon_unix.go (setupDaemonRoot), dockerd(8); containerd, docs/man/containerd-config.toml.5.md.
"""

import json
import logging
import os
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePath

from imgfs.blob import Links, Root
from imgfs.errors import ImgfsError, describe
from imgfs.layers import OwnerMap
from imgfs.sources import containerd
from imgfs.sources.docker.driver_store import drivers
from imgfs.sources.subordinate_ids import remapped_owners

logger = logging.getLogger("imgfs")

DEFAULT_ROOT = "/var/lib/docker"
_DAEMON, _CONTAINERD = "etc/docker/daemon.json", "etc/containerd/config.toml"
CONFIGURATIONS = (f"/{_DAEMON}", f"/{_CONTAINERD}")
"""The files of this machine that say where images are."""
_OWN = "containerd/daemon"
_MARKS = ("engine-id", "buildkit", "swarm")  # that any data root has, wherever its images are
_REMAPPED = re.compile(r"([0-9]{1,10})\.([0-9]{1,10})")
_MAX_FILE = 64 << 10  # bytes
_MAX_DOTS = 500  # in a line of TOML; a key takes time that grows with the square of its parts


@dataclass(frozen=True, slots=True)
class Place:
    """A data root in use: whether it has `classic` stores, and the root and namespace in the containerd it uses."""

    root: Root
    classic: bool
    containerd: Root | None
    namespace: str


def data_root(top: str) -> str:
    """The data root of the machine whose root directory is `top`."""
    return _setting(top, _DAEMON, json.loads, "data-root") or _inside(top, DEFAULT_ROOT)


def places(path: str, *, is_data_root: bool = False) -> list[Place]:
    """The places of the Docker with the data root `path`; none if it has no images.

    It may be the root directory of its machine instead, unless `is_data_root`. Raises OSError or StoreError if it
    cannot be read.
    """
    found = _places(Root(path))
    if found or is_data_root:
        return found
    inner = data_root(os.path.abspath(path))
    return _places(Root(inner)) if Root(inner).is_directory() else []


def owners_of(root: Root) -> tuple[OwnerMap, ...]:
    """The user namespace of the containers in a data root, none without `userns-remap`."""
    match = _REMAPPED.fullmatch(os.path.basename(root.path))
    return () if match is None else (remapped_owners(root, int(match[1]), int(match[2])),)


def _places(root: Root) -> list[Place]:
    name = os.path.basename(root.path)
    is_remapped = _REMAPPED.fullmatch(name) is not None
    outer = Root(os.path.dirname(root.path)) if is_remapped else root
    roots = {f"moby-{name}" if is_remapped else "moby": root}
    if not is_remapped and root.is_directory():
        inner = (
            each for each in sorted(root.names()) if _REMAPPED.fullmatch(each) and root.is_directory(each)
        )
        roots |= {f"moby-{each}": root.below(each) for each in inner}
    found = []
    for namespace, each in roots.items():
        classic = bool(drivers(each))
        inner_root = _containerd(each, outer, namespace, has_classic=classic)
        if classic or inner_root is not None:
            found.append(Place(each, classic, inner_root, namespace))
    return found


def _containerd(root: Root, outer: Root, namespace: str, *, has_classic: bool) -> Root | None:
    """The containerd that has the images of a data root in `namespace`; `outer` is the data root without remapping.

    It may be one without images, of a Docker that has none yet.
    """
    usable: list[Root] = []
    for place in _containerds(root, outer):
        names = containerd.images_by_namespace(place)
        if names.get(namespace):
            return place
        if has_classic:
            # of a Docker that keeps images elsewhere, its own has no blobs: it does nothing but run containers
            is_own = place.path == root.path_of(_OWN)
            is_usable = namespace in names or (is_own and place.is_directory(containerd.BLOBS))
        else:
            is_usable = True
        usable += [place] if is_usable else []
    return usable[0] if usable else None


def _containerds(root: Root, outer: Root) -> Iterator[Root]:
    """Every containerd that a data root may use, those in it first."""
    found = {place.path: place for place in (root.below(_OWN), outer.below(_OWN))}
    if any(root.exists(mark) for mark in _MARKS):  # or any folder would be one, as /var/lib
        beside = Root(os.path.join(os.path.dirname(outer.path), "containerd"))
        found |= {
            place.path: place for place in (root.below("containerd"), outer.below("containerd"), beside)
        }
        parents = map(str, PurePath(outer.path).parents)
        top = next((top for top in parents if data_root(top) == outer.path), None)
        if top is not None:
            path = _setting(top, _CONTAINERD, _toml, "root") or _inside(top, containerd.DEFAULT_ROOT)
            found.setdefault(path, Root(path))
    for place in found.values():
        if containerd.is_root(place):
            yield place


def _setting(top: str, name: str, parse: Callable[[str], object], key: str) -> str | None:
    """A path that a file of the machine at `top` sets; one that cannot be read is logged and ignored."""
    with closing(Root(top, Links.INSIDE)) as root:
        try:
            table = parse(root.read(name, _MAX_FILE).decode())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except RecursionError:
            logger.warning("%s: ignored: nested too deeply", root.path_of(name))
            return None
        except (ImgfsError, OSError, ValueError) as error:
            logger.warning("%s: ignored: %s", root.path_of(name), describe(error))
            return None
    value = table.get(key) if isinstance(table, dict) else None
    return _inside(top, value) if isinstance(value, str) and value else None


def _toml(text: str) -> object:
    if any(line.count(".") > _MAX_DOTS for line in text.splitlines()):
        raise ValueError(f"a line with more than {_MAX_DOTS} dots")
    return tomllib.loads(text)


def _inside(top: str, path: str) -> str:
    """A path on the machine at `top`, which it does not lead out of."""
    return os.path.join(top, os.path.normpath(f"/{path}").lstrip("/"))
