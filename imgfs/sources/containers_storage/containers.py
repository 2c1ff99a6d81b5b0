"""The containers of podman, buildah and CRI-O, as containers/storage lists them.

    <driver>-containers/containers.json       each with its names, its image, and its own layer, whose parent is the
                                              image's top layer; volatile-containers.json those that are removed when
                                              they end, with Podman 5
    <driver>-containers/<id>/userdata/ctr.log what Podman's log driver k8s-file has written
    overlay/<layer id>/diff/                  what it changed; vfs/dir/<layer id>/ all that it sees

With `uidmap` and `gidmap`, a container has a user namespace, in that of its engine; what it changed has the owners that
these give, also where the driver maps image layers as it mounts them, and layers.json has no maps (Podman 4 and 5).

In which state a container is, its engine records elsewhere: of Podman, see `libpod`; of others, that is not known.

Format: containers/storage, `containers.go`; containers/podman, `libpod/storage.go` (the metadata).
Tried by the tests of the store.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import msgspec

from imgfs.blob import Blob, MemoryBlob, Root
from imgfs.digest import DiffID, ImageID
from imgfs.errors import ImgfsError, InvalidDigest, InvalidImage, StoreError, describe
from imgfs.go_json import parse_json
from imgfs.layers import IDRange, OwnerMap
from imgfs.sources.container import Container, ContainerState
from imgfs.sources.containers_storage.libpod import PodmanRecord
from imgfs.sources.documents import MAX_LIST, parse_items
from imgfs.sources.finder import FoundContainer, LayerRef, Report
from imgfs.store.timestamp import parse_time

MERGED = ("vfs",)
"""The storage drivers whose directories hold the files of the layers below, too."""

_MAX_RANGES = 340  # that a user namespace has
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class _IDRange(msgspec.Struct):
    container_id: int
    host_id: int
    size: int


class ContainerRecord(msgspec.Struct, rename="kebab"):
    """A container in a list: `image` is the ID of its image, `layer` of its own layer."""

    id: str
    names: list[str] | None = None
    image: str = ""
    layer: str = ""
    metadata: str = ""
    created: str = ""
    uidmap: list[_IDRange] | None = None
    gidmap: list[_IDRange] | None = None

    @property
    def owners(self) -> tuple[OwnerMap, ...]:
        """The user namespace of the container, in that of its engine; none where it has no other."""
        if not self.uidmap and not self.gidmap:
            return ()
        return (OwnerMap(_ranges(self.uidmap), _ranges(self.gidmap)),)


class _Metadata(msgspec.Struct, rename="kebab"):
    image_name: str = ""


def _ranges(recorded: Sequence[_IDRange] | None) -> tuple[IDRange, ...]:
    ranges = [IDRange(each.container_id, each.host_id, each.size) for each in recorded or ()]
    return tuple(ranges[:_MAX_RANGES] or [IDRange(0, 0, 1 << 32)])


def list_names(driver: str) -> list[str]:
    """The names of the lists of the containers of a storage driver."""
    return [f"{driver}-containers/{name}" for name in ("containers.json", "volatile-containers.json")]


def read_containers(root: Root, driver: str, report: Report) -> Iterator[tuple[ContainerRecord, bytes]]:
    """The containers listed, each with its record as it lies there; what is none is reported.

    Raises InvalidImage, StoreError or OSError if a list cannot be read.
    """
    for name in list_names(driver):
        try:
            data = root.read(name, MAX_LIST)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if data.strip():
            yield from _listed(data, root.path_of(name), report)


def _listed(data: bytes, path: str, report: Report) -> Iterator[tuple[ContainerRecord, bytes]]:
    for number, raw in parse_items(data, msgspec.Raw, path, report):
        try:
            record = parse_json(raw, ContainerRecord, f"item {number} of {path}")
            if not _ID.fullmatch(record.id):
                raise InvalidImage(f"item {number} of {path}: {record.id[:64]!r} is no ID")
            yield record, bytes(raw)
        except ImgfsError as error:
            report(f"skipping {describe(error)}")


def found_container(
    record: ContainerRecord,
    raw: bytes,
    layers: Sequence[tuple[str, LayerRef]],
    own: LayerRef,
    podman: PodmanRecord | None,
    open_log: Callable[[], Blob] | None,
    *,
    is_whole: bool,
) -> FoundContainer:
    """A container whose image has `layers`, each with its diff ID as it is recorded. Raises StoreError.

    `podman` is what Podman records of it, None if it is another engine's.
    """
    try:
        diff_ids = [DiffID(diff_id) for diff_id, _ in layers]
    except InvalidDigest as error:
        raise StoreError(f"a layer of its image: {error}") from None
    return FoundContainer(
        _container(record, podman),
        diff_ids,
        tuple(ref for _, ref in layers),
        [own],
        is_whole,
        partial(MemoryBlob, raw) if podman is None else podman.open,
        open_log if podman is None or podman.has_log_file else None,
    )


def _container(record: ContainerRecord, podman: PodmanRecord | None) -> Container:
    try:
        image = ImageID.from_hex(record.image)
    except InvalidDigest:
        image = None
    try:
        name = (
            parse_json(record.metadata.encode(), _Metadata, "metadata").image_name if record.metadata else ""
        )
    except InvalidImage:
        name = ""
    names = record.names or [""]
    found = Container(
        record.id, names[0], image, name, (), parse_time(record.created), ContainerState("unknown")
    )
    if podman is not None:
        found = replace(found, command=podman.command, state=podman.state, ports=podman.ports)
    return found
