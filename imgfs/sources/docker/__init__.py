"""The store of a Docker daemon, read in place: `docker:PATH`."""

from imgfs.sources.docker.store import DockerStore, is_docker_root, open_store

__all__ = ["DockerStore", "is_docker_root", "open_store"]
