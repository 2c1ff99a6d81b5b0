"""The content store of containerd, read in place: `containerd:PATH`."""

from imgfs.sources.containerd.store import KIND, docker_finder

__all__ = ["KIND", "docker_finder"]
