"""The root file system of an image as a library: paths, content, where a path comes from, comparing two. No FUSE."""

from imgfs.rootfs.compare import Change, Difference, differences
from imgfs.rootfs.drift import drift
from imgfs.rootfs.open_layers import OpenLayers
from imgfs.rootfs.rootfs import RootFS, Stat
from imgfs.rootfs.tree_cache import TreeCache

__all__ = ["Change", "Difference", "OpenLayers", "RootFS", "Stat", "TreeCache", "differences", "drift"]
