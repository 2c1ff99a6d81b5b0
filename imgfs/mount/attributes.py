"""From a node to what the kernel is told of it."""

import stat

import pyfuse3

from imgfs.mount.options import MountOptions
from imgfs.view import Directory, File, Node, Symlink

_FOREVER = 86_400.0  # seconds; content never changes
_BLOCK = 512


def attributes(
    node: Node, number: int, options: MountOptions, size: int | None, *, fleeting: bool = False
) -> pyfuse3.EntryAttributes:
    """What stat(2) answers, and for how long the kernel may believe it.

    `size` is that of a file in bytes, None while it is unknown: then it reads as 0 and is asked for again.
    `fleeting` says that the name by which the node was found may lead elsewhere at any time.
    """
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = number
    entry.st_mode = _mode(node) & ~options.umask
    entry.st_nlink = 1
    entry.st_uid = options.uid
    entry.st_gid = options.gid
    entry.st_rdev = 0
    entry.st_size = size or 0
    entry.st_blksize = 4096
    entry.st_blocks = -(-(size or 0) // _BLOCK)
    entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = node.mtime_ns
    entry.generation = 0
    entry.entry_timeout = 0.0 if fleeting else _FOREVER
    entry.attr_timeout = 0.0 if node.mutable or size is None else _FOREVER
    return entry


def _mode(node: Node) -> int:
    match node:
        case Directory():
            return stat.S_IFDIR | 0o555
        case Symlink():
            return stat.S_IFLNK | 0o777
        case File():
            return stat.S_IFREG | 0o444
    raise TypeError(f"no kind of node: {node!r}")
