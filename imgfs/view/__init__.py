"""What the mounted tree shows, as plain nodes that know nothing of FUSE."""

from imgfs.view.image_directory import ViewOptions
from imgfs.view.node import (
    Directory,
    File,
    Listed,
    Node,
    NodeTable,
    Origin,
    Special,
    Symlink,
    TableDirectory,
    WaitingDirectory,
)
from imgfs.view.root_directory import RootDirectory
from imgfs.view.usage import Usage

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
    "Usage",
    "ViewOptions",
    "WaitingDirectory",
]
