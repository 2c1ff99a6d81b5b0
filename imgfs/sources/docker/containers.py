"""The containers of a Docker.

    containers/<id>/config.v2.json                 what it is and in which state; replaced when that changes
    containers/<id>/<id>-json.log                  what it has written, with the log driver json-file
    containers/<id>/local-logs/container.log       the same with the log driver local

Of a Docker that keeps images by itself:

    image/<driver>/layerdb/mounts/<id>/parent      the chain ID of its image's layers; none if that has none
    image/<driver>/layerdb/mounts/<id>/init-id     the cache ID of the layer of files that Docker mounts over
    image/<driver>/layerdb/mounts/<id>/mount-id    the cache ID of the layer that the container writes to

Of one that keeps them in containerd, the container's ID is the key of the snapshot that it writes to; that stands on
one of the files that Docker mounts over, with the key `<id>-init`. `Image` is then the digest of a manifest or an
index.

Format: moby, container/container.go, container/state.go, layer/filestore.go, daemon/containerd/image_snapshot.go.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from imgfs.blob import Blob, Root
from imgfs.blob.stamp import FileStamp
from imgfs.digest import ChainID, ImageID
from imgfs.errors import ImgfsError, InvalidDigest, StoreError, describe
from imgfs.layers import DirectoryPlace, OwnerMap
from imgfs.sources import containerd
from imgfs.sources.container import Container, ContainerState
from imgfs.sources.container_layers import OwnLayer
from imgfs.sources.docker.driver_store import MERGED, DriverStore, drivers
from imgfs.sources.docker.places import owners_of
from imgfs.sources.documents import MAX_DOCUMENT, parse_document
from imgfs.sources.finder import FoundContainer, LayerRef, Report
from imgfs.store.timestamp import parse_time

_FOLDER = "containers"
_RECORD = "config.v2.json"
_LOCAL_LOG = "local-logs/container.log"
_ID = re.compile(r"[0-9a-f]{64}")


class _State(msgspec.Struct, rename="pascal"):
    running: bool = False
    paused: bool = False
    restarting: bool = False
    removal_in_progress: bool = False
    dead: bool = False
    exit_code: int = 0
    started_at: str = ""
    finished_at: str = ""


class _Run(msgspec.Struct, rename="pascal"):
    image: str = ""


class _Binding(msgspec.Struct, rename="pascal"):
    host_ip: str = ""
    host_port: str = ""


class _Network(msgspec.Struct, rename="pascal"):
    ports: dict[str, list[_Binding] | None] | None = None


class _Record(msgspec.Struct, rename="pascal"):
    state: _State = msgspec.field(default_factory=_State)
    created: str = ""
    path: str = ""
    args: list[str] | None = None
    config: _Run = msgspec.field(default_factory=_Run)
    image: str = ""
    network_settings: _Network = msgspec.field(default_factory=_Network)
    name: str = ""
    driver: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    stamp: FileStamp
    container: Container
    driver: str


class Records:
    """What Docker records of containers in the data root `root`; a record that has not changed is not read again."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._known: dict[str, _Known] = {}

    @property
    def watched(self) -> list[str]:
        """The names of what has a modification time that changes with the records."""
        records = (f"{_FOLDER}/{container_id}/{_RECORD}" for container_id in self._ids())
        return [_FOLDER, *records]

    def stamp(self) -> object:
        """A value that changes with the records. Raises OSError."""
        return self._root.stamp(self.watched)

    def read(self, report: Report) -> Iterator[tuple[Container, str]]:
        """Each container, and the storage driver or snapshotter of its layers. Damage is reported."""
        known: dict[str, _Known] = {}
        for container_id in self._ids():
            try:
                found = known[container_id] = self._read(container_id)
            except FileNotFoundError:  # it is being made or removed
                continue
            except (ImgfsError, OSError) as error:
                report(f"skipping container {container_id}: {describe(error)}")
            else:
                yield found.container, found.driver
        self._known = known

    def open_record(self, container_id: str) -> Blob:
        """Docker's record of a container. Raises StoreError or OSError."""
        return self._root.open(f"{_FOLDER}/{container_id}/{_RECORD}")

    def log(self, container_id: str) -> Callable[[], Blob] | None:
        """What opens the file that a container's output is logged to; None if there is none."""
        names = (f"{_FOLDER}/{container_id}/{name}" for name in (f"{container_id}-json.log", _LOCAL_LOG))
        found = next(filter(self._root.exists, names), None)
        return None if found is None else partial(self._root.open, found)

    def _ids(self) -> list[str]:
        try:
            return sorted(filter(_ID.fullmatch, self._root.names(_FOLDER)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _read(self, container_id: str) -> _Known:
        name = f"{_FOLDER}/{container_id}/{_RECORD}"
        stamp = FileStamp.of(self._root.stat(name))
        known = self._known.get(container_id)
        if known is not None and known.stamp == stamp and not stamp.is_recent:
            return known
        record = parse_document(self._root.read(name, MAX_DOCUMENT), _Record, self._root.path_of(name))
        return _Known(stamp, _container(container_id, record), record.driver)


class SnapshotRecords:
    """The containers in the data root `root` whose layers are snapshots of containerd, in `namespace`."""

    def __init__(self, root: Root, namespace: str) -> None:
        self._root = root
        self._namespace = namespace
        self._records = Records(root)

    def stamp(self) -> object:
        """As of `containerd.Records`."""
        return self._records.stamp()

    @property
    def watched(self) -> list[str]:
        """As of `containerd.Records`."""
        return [self._root.path_of(name) for name in self._records.watched]

    def read(self, report: Report) -> Iterator[containerd.Recorded]:
        """As of `containerd.Records`."""
        classic, owners = drivers(self._root), owners_of(self._root)
        for container, driver in self._records.read(report):
            if driver not in classic:
                names = (container.image_name,) if container.image is None else (container.image,)
                yield containerd.Recorded(
                    container,
                    containerd.SnapshotKey(driver, self._namespace, container.id),
                    names,
                    partial(self._records.open_record, container.id),
                    self._records.log(container.id),
                    owners,
                )


class Containers:
    """The containers in the data root `root` whose layers are kept by Docker's own storage drivers."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._records = Records(root)
        self._folders: list[str] = []  # of layers, that were found last
        self._owners: tuple[OwnerMap, ...] = ()

    @property
    def watched(self) -> list[str]:
        """The names of what has a modification time that changes with the containers."""
        return [*self._records.watched, *self._folders]

    def find(
        self,
        stores: Mapping[str, DriverStore],
        layer: Callable[[ChainID], LayerRef],
        report: Report,
    ) -> Iterator[FoundContainer]:
        """Every container of the storage drivers in `stores`; `layer` finds layers of images. Damage is reported."""
        self._folders, self._owners = [], owners_of(self._root)
        for container, driver in self._records.read(report):
            if driver not in stores:
                continue
            try:
                yield self._found(container, stores[driver], layer)
            except FileNotFoundError:  # it is being made or removed
                continue
            except (ImgfsError, OSError) as error:
                report(f"skipping container {container.id}: {describe(error)}")

    def _found(
        self, container: Container, store: DriverStore, layer: Callable[[ChainID], LayerRef]
    ) -> FoundContainer:
        mount = store.mount(container.id)
        if mount is None:
            raise StoreError(f"its layers are not recorded in {store.mounts}")
        is_whole = store.driver in MERGED
        stack = [] if is_whole else store.stack(mount.parent)
        cache_ids = [mount.mount_id] if is_whole or not mount.init_id else [mount.init_id, mount.mount_id]
        own = [self._layer(store.files(each), is_live=each == mount.mount_id) for each in cache_ids]
        return FoundContainer(
            container,
            [diff_id for _, diff_id in stack],
            tuple(layer(chain_id) for chain_id, _ in stack),
            own,
            is_whole,
            partial(self._records.open_record, container.id),
            self._records.log(container.id),
        )

    def _layer(self, name: str, *, is_live: bool) -> OwnLayer:
        # Docker makes and removes the mount point of the layer there whenever it mounts it
        self._folders.append(name.removesuffix("/diff"))
        place = DirectoryPlace(self._root, name, is_live=is_live, owners=self._owners)
        return OwnLayer.at(place, self._folders[-1])


def _container(container_id: str, record: _Record) -> Container:
    try:
        image = ImageID(record.image)
    except InvalidDigest:
        image = None
    state = record.state
    times = parse_time(state.started_at), parse_time(state.finished_at)
    has_ended = times[0] is not None and not state.running
    return Container(
        container_id,
        record.name.removeprefix("/"),
        image,
        record.config.image,
        [record.path, *(record.args or ())],
        parse_time(record.created),
        ContainerState(_status(state), state.exit_code if has_ended else None, *times),
        _ports(record.network_settings.ports or {}),
    )


def _status(state: _State) -> str:
    """As moby's State.StateString has it."""
    if state.running:
        return "paused" if state.paused else "restarting" if state.restarting else "running"
    if state.removal_in_progress:
        return "removing"
    if state.dead:
        return "dead"
    return "exited" if parse_time(state.started_at) is not None else "created"


def _ports(ports: Mapping[str, Sequence[_Binding] | None]) -> list[str]:
    found = []
    for port, bindings in sorted(ports.items()):
        hosts = [f"{_host(each.host_ip)}:{each.host_port}->" for each in bindings or ()]
        found += [f"{host}{port}" for host in hosts or [""]]
    return found


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
