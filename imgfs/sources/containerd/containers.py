"""Containers whose own layer is a snapshot of containerd, with the layers that this stands on.

Format: containerd, core/snapshots/storage/bolt.go: a snapshot is called `<namespace>/<number>/<key>` and holds, besides
what `snapshots` says, the name of its `parent`. The key of a layer of an image is its chain ID; those between these and
the container's own are of files that Docker mounts over, or are of an image that is gone. Where Docker's own builder
made an image, such snapshots lie between its layers, too, and containers see them though the image does not have them
(tried with Docker 26). What a container changes is in a directory with overlayfs and with erofs. An overlayfs that is
mounted makes its `work/work` again (Linux, fs/overlayfs/super.c).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from imgfs.blob import Blob, Root
from imgfs.digest import ChainID, DiffID
from imgfs.errors import Corrupt, ImgfsError, InvalidDigest, StoreError, describe
from imgfs.layers import DirectoryPlace, ErofsPlace, OwnerMap, chain_ids, prefix_of
from imgfs.sources.container import Container
from imgfs.sources.container_layers import OwnLayer
from imgfs.sources.containerd.bolt import Bucket, read_bolt
from imgfs.sources.containerd.snapshots import Snapshots, varint
from imgfs.sources.documents import MAX_LAYERS
from imgfs.sources.finder import FoundContainer, FoundImage, LayerRef, Report

_FOLDER = "io.containerd.snapshotter.v1."
_OVERLAYFS, _EROFS, _NATIVE = "overlayfs", "erofs", "native"
_IMAGE = "rwlayer.img"  # of ext4, where erofs is so configured
_MAX_SNAPSHOTS = 1_000_000  # that all containers stand on, those of each counted again


class SnapshotKey(NamedTuple):
    """What a snapshot is called: by which snapshotter, in which namespace, by which key."""

    snapshotter: str
    namespace: str
    key: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """A container as it is recorded, and the snapshot that it writes to.

    Its image has one of `image_names`, which may be digests, if it is there. `owners` are the user namespaces that the
    snapshot's files belong to.
    """

    container: Container
    snapshot: SnapshotKey
    image_names: Sequence[str]
    open_record: Callable[[], Blob]
    open_log: Callable[[], Blob] | None = None
    owners: tuple[OwnerMap, ...] = ()

    def is_of(self, found: FoundImage) -> bool:
        """Whether an image has a name of the container's."""
        names = {*found.tags, *found.aliases, found.image.id}
        return any(name in names or f"@{name}" in names for name in self.image_names)


class Records(Protocol):
    """Where containers are recorded."""

    def stamp(self) -> object:
        """A value that changes with what is recorded. Raises ImgfsError or OSError."""

    @property
    def watched(self) -> list[str]:
        """The paths of the files and directories that change with it, if the database does not."""

    def read(self, report: Report) -> Iterable[Recorded]:
        """What is recorded now; damage is reported."""


class _Snapshot(NamedTuple):
    """A snapshot: the number that its files lie under, its chain ID if it is a layer of an image, what it stands on."""

    id: int
    chain_id: ChainID | None
    parent: bytes


class ContainerSearch:
    """One search for the containers that `records` has, with their layers below the root directory `files`.

    Each image has to be shown to it before the containers are found.
    """

    def __init__(self, files: Root, records: Records, snapshots: Snapshots, report: Report) -> None:
        self._files = files
        self._report = report
        self._known: dict[str, Mapping[bytes, _Snapshot]] = {}  # by snapshotter
        self._keys: dict[SnapshotKey, bytes] = {}
        self._left = _MAX_SNAPSHOTS
        self._stacks: list[tuple[Recorded, Sequence[_Snapshot]]] = []
        self._layers: dict[
            ChainID, tuple[FoundImage, int]
        ] = {}  # an image, and how many of its layers it is of
        self._images: dict[ChainID, list[FoundImage]] = {}  # by the chain ID of all their layers
        for recorded in records.read(report):
            try:
                self._stacks.append((recorded, self._stack(recorded.snapshot)))
            except (ImgfsError, OSError) as error:
                self._skip(recorded, error)
        self._owners = snapshots.owners if self._stacks else ()
        self._wanted = {snapshot.chain_id for _, stack in self._stacks for snapshot in stack}

    @property
    def watched(self) -> list[str]:
        """The names of what has a modification time that changes when the files of a container are mounted."""
        return [_work(recorded.snapshot.snapshotter, stack[-1]) for recorded, stack in self._stacks]

    def see(self, found: FoundImage) -> None:
        """Take note of an image, which a container may be of."""
        if not self._stacks or len(found.layers) != len(found.image.diff_ids):
            return
        chain_id = None
        for number, chain_id in enumerate(chain_ids(found.image.diff_ids), 1):
            if chain_id in self._wanted:
                self._layers.setdefault(chain_id, (found, number))
        if chain_id in self._wanted and chain_id is not None:
            self._images.setdefault(chain_id, []).append(found)

    def containers(self) -> Iterator[FoundContainer]:
        """The containers; one that cannot be read is reported."""
        for recorded, stack in self._stacks:
            try:
                yield self._found(recorded, stack)
            except FileNotFoundError:  # it is being removed
                continue
            except (ImgfsError, OSError) as error:
                self._skip(recorded, error)

    def _found(self, recorded: Recorded, stack: Sequence[_Snapshot]) -> FoundContainer:
        chain = [snapshot.chain_id for snapshot in stack]
        diff_ids, layers = self._below(chain)
        known = len(layers)
        tops = [chain_id for chain_id in chain if chain_id is not None][-1:]
        images = (
            found.image.id for top in tops for found in self._images.get(top, ()) if recorded.is_of(found)
        )
        return FoundContainer(
            replace(recorded.container, image=next(images, None)),
            diff_ids,
            layers,
            [self._own(recorded, stack, number) for number in range(known, len(stack))],
            False,
            recorded.open_record,
            recorded.open_log,
        )

    def _below(self, chain: Sequence[ChainID | None]) -> tuple[Sequence[DiffID], Sequence[LayerRef]]:
        """The layers of an image that a stack begins with, as many as there are."""
        known: FoundImage | None = None
        count = 0
        for chain_id in chain:
            found = None if chain_id is None else self._layers.get(chain_id)
            if found is None or found[1] != count + 1:
                break
            known, count = found
        return ((), ()) if known is None else (known.image.diff_ids[:count], known.layers[:count])

    def _own(self, recorded: Recorded, stack: Sequence[_Snapshot], number: int) -> OwnLayer:
        snapshotter = recorded.snapshot.snapshotter
        snapshot, is_live = stack[number], number == len(stack) - 1
        # Docker gives all files to mapped users in the container's own snapshots, in no layer of an image
        owners = (*self._owners, *(() if snapshot.chain_id else recorded.owners))
        name = f"{_FOLDER}{snapshotter}/snapshots/{snapshot.id}"
        if snapshotter == _NATIVE:
            below = f"{_FOLDER}{snapshotter}/snapshots/{stack[number - 1].id}" if number else None
            place = DirectoryPlace(self._files, name, is_live=is_live, below=below, owners=owners)
            return OwnLayer.at(place)
        if snapshotter == _EROFS and not is_live:
            return OwnLayer.at(ErofsPlace(self._files, f"{name}/layer.erofs"))
        if self._files.exists(f"{name}/{_IMAGE}"):
            raise StoreError(f"its files are in a file system image, {name}/{_IMAGE}, which cannot be read")
        place = DirectoryPlace(
            self._files, f"{name}/fs", prefix_of(self._files), is_live=is_live, owners=owners
        )
        work = _work(snapshotter, snapshot)
        return OwnLayer.at(place, work if self._files.exists(work) else None)

    def _stack(self, key: SnapshotKey) -> Sequence[_Snapshot]:
        """A snapshot and those that it stands on, bottom first. Raises StoreError, Corrupt or OSError."""
        if key.snapshotter not in (_OVERLAYFS, _EROFS, _NATIVE):
            raise StoreError(
                f"its files are kept by the snapshotter {key.snapshotter!r}, which cannot be read"
            )
        if key.snapshotter not in self._known:
            found = read_bolt(lambda: self._files.open(f"{_FOLDER}{key.snapshotter}/metadata.db"), _snapshots)
            self._known[key.snapshotter] = found
            for name in found:
                namespace, _, rest = name.partition(b"/")
                called = (_text(part) for part in (namespace, rest.partition(b"/")[2]))
                self._keys[SnapshotKey(key.snapshotter, *called)] = name
        known = self._known[key.snapshotter]
        if key not in self._keys:
            raise StoreError(f"its snapshot {key.key[:80]!r} is missing")
        stack: list[_Snapshot] = []
        wanted = self._keys[key]
        while wanted:
            self._left -= 1
            if self._left < 0:
                raise StoreError(f"containers stand on more than {_MAX_SNAPSHOTS} snapshots")
            if wanted not in known or len(stack) > MAX_LAYERS:
                raise Corrupt(
                    f"what its snapshot stands on, {_text(wanted)[:80]!r}, is missing or has no end"
                )
            stack.append(known[wanted])
            wanted = known[wanted].parent
        return stack[::-1]

    def _skip(self, recorded: Recorded, error: Exception) -> None:
        self._report(f"skipping container {recorded.container.id}: {describe(error)}")


def _work(snapshotter: str, snapshot: _Snapshot) -> str:
    return f"{_FOLDER}{snapshotter}/snapshots/{snapshot.id}/work"


def _snapshots(root: Bucket) -> dict[bytes, _Snapshot]:
    """Each snapshot by its name; what is damaged is left out."""
    found: dict[bytes, _Snapshot] = {}
    snapshots = root.bucket(b"v1", b"snapshots")
    for name, snapshot in snapshots.buckets() if snapshots is not None else ():
        number = varint(snapshot.get(b"id") or b"")
        if number is None:
            continue
        chain_id = None
        with suppress(InvalidDigest):  # of a container
            chain_id = ChainID(_text(name.rpartition(b"/")[2]))
        found[name] = _Snapshot(number, chain_id, snapshot.get(b"parent") or b"")
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
