"""The store of a Docker daemon, read in place: `docker:PATH`."""

from imgfs.sources.docker.places import CONFIGURATIONS, data_root
from imgfs.sources.docker.store import KIND

__all__ = ["CONFIGURATIONS", "KIND", "data_root"]
