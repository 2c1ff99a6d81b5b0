"""How large layers are as containerd has unpacked them, as its snapshotter records it.

Format: containerd, core/snapshots/storage/bolt.go: buckets `v1/snapshots/<namespace>/<number>/<key>`, where the key of
a layer is its chain ID, hold `size`, bytes on disk as a signed varint of Go's encoding/binary.
"""

from collections.abc import Callable
from contextlib import suppress

from imgfs.blob import MAX_SIZE, FileBlob
from imgfs.digest import ChainID
from imgfs.errors import InvalidDigest
from imgfs.sources.containerd.bolt import Bucket, read_bolt

OVERLAYFS = "io.containerd.snapshotter.v1.overlayfs/metadata.db"
"""The database of the snapshotter that containerd uses where nothing else is configured."""

_LONGEST = 10  # bytes of a varint


def read_sizes(open_file: Callable[[], FileBlob]) -> dict[ChainID, int]:
    """The size in bytes of each unpacked layer; what is damaged is skipped. Raises what `read_bolt` raises."""
    return read_bolt(open_file, _sizes)


def _sizes(root: Bucket) -> dict[ChainID, int]:
    sizes: dict[ChainID, int] = {}
    snapshots = root.bucket(b"v1", b"snapshots")
    for name, snapshot in snapshots.buckets() if snapshots is not None else ():
        size = _varint(snapshot.get(b"size") or b"")
        with suppress(InvalidDigest):  # of a container
            chain_id = ChainID(name.rpartition(b"/")[2].decode("ascii", "replace"))
            if size is not None:
                sizes.setdefault(chain_id, size)
    return sizes


def _varint(data: bytes) -> int | None:
    """The size that a varint gives; None if it gives none."""
    value = 0
    for number, byte in enumerate(data[:_LONGEST]):
        value |= (byte & 0x7F) << 7 * number
        if byte < 0x80:
            return value >> 1 if not value & 1 and value >> 1 <= MAX_SIZE else None
    return None
