"""What the mounted tree shows, as plain nodes that know nothing of FUSE."""

from imgfs.view.image import ViewOptions
from imgfs.view.node import Directory, File, Listed, Node, NodeTable, Origin, Special, Symlink, TableDirectory
from imgfs.view.root import RootDirectory

__all__ = [
    "Directory",
    "File",
    "Listed",
    "Node",
    "NodeTable",
    "Origin",
    "RootDirectory",
    "Special",
    "Symlink",
    "TableDirectory",
    "ViewOptions",
]
