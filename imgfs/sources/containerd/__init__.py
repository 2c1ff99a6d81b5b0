"""What containerd has, images and containers, read in place: `containerd:PATH`."""

from imgfs.sources.containerd.containers import Recorded, Records, SnapshotKey
from imgfs.sources.containerd.store import (
    BLOBS,
    DEFAULT_ROOT,
    KIND,
    docker_finder,
    images_by_namespace,
    is_root,
)

__all__ = [
    "BLOBS",
    "DEFAULT_ROOT",
    "KIND",
    "Recorded",
    "Records",
    "SnapshotKey",
    "docker_finder",
    "images_by_namespace",
    "is_root",
]
