"""What the mounted tree shows, as plain nodes that know nothing of FUSE."""

from imgfs.view.node import Directory, File, Node, NodeTable, Special, Symlink
from imgfs.view.options import ViewOptions
from imgfs.view.root import RootDirectory

__all__ = ["Directory", "File", "Node", "NodeTable", "RootDirectory", "Special", "Symlink", "ViewOptions"]
