"""imgfs: container image stores as a file system."""

from imgfs.version import __version__

__all__ = ["__version__"]
