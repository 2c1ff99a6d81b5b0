"""Serving a tree of nodes as a file system: the only package that imports pyfuse3 and trio."""

from imgfs.mount.daemon import background
from imgfs.mount.options import MountOptions, parse_options
from imgfs.mount.session import check_mountpoint, serve
from imgfs.mount.umount import MountBusy, unmount

__all__ = ["MountBusy", "MountOptions", "background", "check_mountpoint", "parse_options", "serve", "unmount"]
