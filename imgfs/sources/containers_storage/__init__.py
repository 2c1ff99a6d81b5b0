"""The store that Podman, Buildah and CRI-O share (containers/storage), read in place: `containers-storage:PATH`."""

from imgfs.sources.containers_storage.storage_conf import configurations, default_storage
from imgfs.sources.containers_storage.store import KIND

__all__ = ["KIND", "configurations", "default_storage"]
