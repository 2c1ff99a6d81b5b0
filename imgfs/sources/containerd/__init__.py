"""The content store of containerd, read in place: `containerd:PATH`."""

from imgfs.sources.containerd.store import (
    BLOBS,
    DEFAULT_ROOT,
    KIND,
    docker_finder,
    images_by_namespace,
    is_root,
)

__all__ = ["BLOBS", "DEFAULT_ROOT", "KIND", "docker_finder", "images_by_namespace", "is_root"]
