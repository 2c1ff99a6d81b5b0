"""The store of a Docker daemon, read in place: `docker:PATH`."""

from imgfs.sources.docker.store import KIND

__all__ = ["KIND"]
