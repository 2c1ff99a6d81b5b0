"""Where the images of a Docker lie: in stores of its own below its data root, and in a containerd.

A machine's data root is /var/lib/docker, or what its daemon.json says. With `userns-remap`, Docker uses ROOT/UID.GID in
place of ROOT. In containerd, its images are in the namespace `moby`, or `moby-UID.GID`. It runs a containerd of its own
in ROOT/containerd/daemon if the machine has none; that of a machine is /var/lib/containerd, or what its config.toml
says. The machine may be a disk that is mounted: its own files count, and paths in them start at its top.
Format: moby, daemon/daemon_unix.go (setupDaemonRoot), dockerd(8); containerd, docs/man/containerd-config.toml.5.md.
"""

import json
import logging
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import PurePath

from imgfs.blob import Links, Root
from imgfs.errors import ImgfsError, describe
from imgfs.sources import containerd
from imgfs.sources.docker.driver_store import drivers

logger = logging.getLogger("imgfs")

DEFAULT_ROOT = "/var/lib/docker"
_DAEMON, _CONTAINERD = "etc/docker/daemon.json", "etc/containerd/config.toml"
_OWN = "containerd/daemon"
_MARKS = ("engine-id", "buildkit", "swarm")  # that any data root has, wherever its images are
_REMAPPED = re.compile(r"[0-9]{1,10}\.[0-9]{1,10}")
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
    classic = {namespace: bool(drivers(each)) for namespace, each in roots.items()}
    is_data_root = any(each.exists(mark) for each in roots.values() for mark in _MARKS)
    beside, has = _containerd(outer, roots, is_data_root, any(classic.values()))
    found = []
    for namespace, each in roots.items():
        inner_root = beside if namespace in has else None
        if classic[namespace] or inner_root is not None:
            found.append(Place(each, classic[namespace], inner_root, namespace))
    return found


def _containerd(
    outer: Root, wanted: Mapping[str, Root], is_data_root: bool, has_classic: bool
) -> tuple[Root | None, set[str]]:
    """The containerd that a data root uses, and which of the namespaces `wanted` are there; the first with images.

    One without images may be used by a Docker that has no images yet.
    """
    usable: list[tuple[Root, set[str]]] = []
    for root in _containerds(outer, is_data_root):
        is_own = root.path == outer.path_of(_OWN)
        names = containerd.images_by_namespace(root)
        if any(names.get(namespace) for namespace in wanted):
            return root, wanted.keys() & names.keys()
        # of a Docker that keeps images elsewhere, its own has no blobs: it does nothing but run containers
        is_empty = has_classic and not root.is_directory(containerd.BLOBS)
        if wanted.keys() & names.keys() or ((is_own or not has_classic) and not is_empty):
            usable.append((root, (wanted.keys() & names.keys()) or {next(iter(wanted))}))
    return usable[0] if usable else (None, set())


def _containerds(outer: Root, is_data_root: bool) -> Iterator[Root]:
    """Every containerd that a data root may use, those in it first."""
    found = {inner.path: inner for inner in (outer.below(_OWN), outer.below("containerd"))}
    if is_data_root:
        beside = Root(os.path.join(os.path.dirname(outer.path), "containerd"))
        found.setdefault(beside.path, beside)
        parents = map(str, PurePath(outer.path).parents)
        top = next((top for top in parents if data_root(top) == outer.path), None)
        if top is not None:
            path = _setting(top, _CONTAINERD, _toml, "root") or _inside(top, containerd.DEFAULT_ROOT)
            found.setdefault(path, Root(path))
    for root in found.values():
        if containerd.is_root(root):
            yield root


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
