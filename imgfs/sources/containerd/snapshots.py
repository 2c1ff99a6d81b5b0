"""Layers as containerd has unpacked them: what its snapshotters record of them, and where their files are.

Format: containerd, core/snapshots/storage/bolt.go: buckets `v1/snapshots/<namespace>/<number>/<key>`, where the key of
a layer is its chain ID, hold `id`, a varint of Go's encoding/binary, `kind`, 3 if it was committed, and `size`, bytes
on disk as a signed varint. Its files are those of one layer in overlayfs, of that and all below it in native. In erofs
(docs/snapshotters/erofs.md) they are one layer's in an image, made by `mkfs.erofs --tar=f --aufs` or of a directory, or
by `mkfs.erofs --tar=i --aufs`, and then the layer's tar is appended to it.
"""

import logging
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial

from imgfs.blob import MAX_SIZE, Blob, Root
from imgfs.digest import ChainID, DiffID
from imgfs.errors import ImgfsError, InvalidDigest, StoreError, describe
from imgfs.layers import (
    BlobLayer,
    DirectoryLayer,
    DirectoryPlace,
    ErofsPlace,
    Indexer,
    Layer,
    LayerChoice,
    OwnerMap,
    RebuiltLayer,
    prefix_of,
)
from imgfs.sources.containerd.bolt import Bucket, read_bolt
from imgfs.sources.finder import BlobRef
from imgfs.sources.subordinate_ids import rootless_owners

logger = logging.getLogger("imgfs")

OVERLAYFS, EROFS, NATIVE = (
    f"io.containerd.snapshotter.v1.{name}" for name in ("overlayfs", "erofs", "native")
)
"""The folders of the snapshotter that containerd uses where nothing else is configured, of one that has to be asked
for, and of the one that it uses where there is no overlayfs."""

_COMMITTED = b"\x03"
_LONGEST = 10  # bytes of a varint


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One unpacked layer: the number that its files lie under, and their size in bytes where it is recorded."""

    id: int
    size: int | None


class Snapshots:
    """The layers that containerd has unpacked below its root directory `files`. Safe to use from several threads."""

    def __init__(self, files: Root) -> None:
        self._files = files
        self._known: dict[str, Mapping[ChainID, Snapshot]] = {}  # of snapshotters that were asked for

    def forget(self) -> None:
        """Read the database again when a layer is next asked for."""
        self._known = {}

    def find(self, chain_id: ChainID) -> Snapshot | None:
        """An unpacked layer; None if it is not, or by another snapshotter. Raises nothing."""
        each = (self._of(name).get(chain_id) for name in (OVERLAYFS, EROFS, NATIVE))
        return next(filter(None, each), None)

    def size_of(self, chain_id: ChainID) -> int | None:
        """The size of a layer's files in bytes; None if it is not known."""
        found = self.find(chain_id)
        return None if found is None else found.size

    def locate(self, chain_id: ChainID, parent: ChainID | None) -> DirectoryPlace | ErofsPlace:
        """Where the files of a layer on `parent` are. Raises StoreError if it is not unpacked, OSError."""
        found = self._of(OVERLAYFS).get(chain_id)
        if found is not None:
            name = f"{OVERLAYFS}/snapshots/{found.id}/fs"
            return DirectoryPlace(self._files, name, prefix_of(self._files), owners=self.owners)
        found = self._of(EROFS).get(chain_id)
        if found is not None:
            return ErofsPlace(self._files, f"{EROFS}/snapshots/{found.id}/layer.erofs")
        name = self._native(chain_id)
        below = None if parent is None else self._native(parent)
        return DirectoryPlace(self._files, name, below=below, owners=self.owners)

    def has_tar(self, chain_id: ChainID) -> bool:
        """Whether the tar of a layer is kept beside its files. Raises nothing."""
        try:
            place = self.locate(chain_id, None)
            if not isinstance(place, ErofsPlace):
                return False
            place.open_tar().close()
        except (ImgfsError, OSError) as error:
            logger.debug("%s: no tar of layer %s: %s", self._files.path, chain_id, describe(error))
            return False
        return True

    def open_tar(self, chain_id: ChainID) -> Blob:
        """The tar that is kept beside a layer's files. Raises ImgfsError or OSError if there is none."""
        place = self.locate(chain_id, None)
        if not isinstance(place, ErofsPlace):
            raise StoreError(f"{self._files.path}: no tar of the layer with chain ID {chain_id}")
        return place.open_tar()

    @cached_property
    def owners(self) -> tuple[OwnerMap, ...]:
        """The user namespaces that files of snapshots belong to; looked for once, as it is logged if there are none.

        Raises OSError.
        """
        return rootless_owners(self._files)

    def _native(self, chain_id: ChainID) -> str:
        found = self._of(NATIVE).get(chain_id)
        if found is None:
            raise StoreError(f"{self._files.path}: no snapshot of the layer with chain ID {chain_id}")
        return f"{NATIVE}/snapshots/{found.id}"

    def _of(self, snapshotter: str) -> Mapping[ChainID, Snapshot]:
        known = self._known.get(snapshotter)
        if known is None:
            try:
                known = read_snapshots(self._files, snapshotter)
            except (ImgfsError, OSError) as error:
                logger.debug("%s: unpacked layers are not known: %s", self._files.path, describe(error))
                known = {}
            self._known[snapshotter] = known
        return known


@dataclass(frozen=True, slots=True)
class SnapshotRef:
    """A layer that is unpacked, as `snapshot` when it was found, and whose blob is not there any more."""

    blob: BlobRef
    snapshot: Snapshot
    snapshots: Snapshots

    @property
    def key(self) -> Hashable:
        return self.snapshot, self.blob.key

    def resolve(self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, indexer: Indexer) -> Layer:
        if self.snapshots.find(chain_id) is None:  # in another stack
            return self.blob.resolve(chain_id, diff_id, parent, indexer)
        read_size = self.snapshots.size_of
        files = DirectoryLayer(
            chain_id,
            diff_id,
            parent,
            partial(self.snapshots.locate, chain_id, parent),
            read_size,
            f"its blob {self.blob.digest} was not pulled, or was discarded after unpacking, so that only its files "
            "are there",
        )
        if not self.snapshots.has_tar(chain_id):
            return RebuiltLayer(files, indexer.indexes)
        open_tar = partial(self.snapshots.open_tar, chain_id)
        tar = BlobLayer(chain_id, diff_id, parent, open_tar, indexer, is_doubtful=True, read_size=read_size)
        return LayerChoice(tar, lambda: [files])


def read_snapshots(files: Root, snapshotter: str = OVERLAYFS) -> dict[ChainID, Snapshot]:
    """Each unpacked layer; what is damaged is skipped. Raises what `read_bolt` raises."""
    return read_bolt(lambda: files.open(f"{snapshotter}/metadata.db"), _snapshots)


def _snapshots(root: Bucket) -> dict[ChainID, Snapshot]:
    found: dict[ChainID, Snapshot] = {}
    snapshots = root.bucket(b"v1", b"snapshots")
    for name, snapshot in snapshots.buckets() if snapshots is not None else ():
        number = varint(snapshot.get(b"id") or b"")
        size = varint(snapshot.get(b"size") or b"")
        if number is None or snapshot.get(b"kind") != _COMMITTED:
            continue
        with suppress(InvalidDigest):  # of a container
            chain_id = ChainID(name.rpartition(b"/")[2].decode("ascii", "replace"))
            bytes_ = size >> 1 if size is not None and not size & 1 and size >> 1 <= MAX_SIZE else None
            found.setdefault(chain_id, Snapshot(number, bytes_))
    return found


def varint(data: bytes) -> int | None:
    """The number that an unsigned varint gives; None if it gives none."""
    value = 0
    for number, byte in enumerate(data[:_LONGEST]):
        value |= (byte & 0x7F) << 7 * number
        if byte < 0x80:
            return value
    return None
