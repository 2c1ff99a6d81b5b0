"""The content store of containerd, read in place: `containerd:PATH`."""

from imgfs.sources.containerd.store import is_root, open_docker, open_store

__all__ = ["is_root", "open_docker", "open_store"]
