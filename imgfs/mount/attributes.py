"""From a node to what the kernel is told of it."""

import os
import stat

import pyfuse3

from imgfs.mount.options import MountOptions
from imgfs.view import Listed, Node

_FOREVER = 86_400.0  # seconds; content never changes
_BLOCK = 512  # bytes, in which stat(2) counts blocks


class Attributes:
    """Makes attributes as `options` say."""

    def __init__(self, options: MountOptions) -> None:
        self._kept = ~options.umask
        self._uid, self._gid = options.uid, options.gid
        self._own_uid, self._own_gid = os.getuid(), os.getgid()
        self.unsettled: set[int] = set()
        """Numbers of files whose size was not known when they were last told of."""

    def of(
        self, node: Node, number: int, size: int | None, *, fleeting: bool = False
    ) -> pyfuse3.EntryAttributes:
        """What stat(2) answers, and for how long the kernel may believe it.

        `size` is that of a file in bytes, None while it is unknown: then it reads as 0 and is asked for again.
        `fleeting` says that the name by which the node was found may lead elsewhere at any time.
        """
        entry = pyfuse3.EntryAttributes()
        if size is None:
            self.unsettled.add(number)
        entry.st_ino = number
        entry.st_mode = node.mode & self._kept
        entry.st_nlink = node.links
        entry.st_uid = _first(self._uid, node.uid, self._own_uid)
        entry.st_gid = _first(self._gid, node.gid, self._own_gid)
        entry.st_rdev = node.device
        entry.st_size = size or 0
        entry.st_blksize = 4096
        entry.st_blocks = -(-(size or 0) // _BLOCK)
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = node.mtime_ns
        entry.entry_timeout = 0.0 if fleeting else _FOREVER
        entry.attr_timeout = 0.0 if node.mutable or size is None else _FOREVER
        return entry

    def blank(self) -> pyfuse3.EntryAttributes:
        """A directory of which nothing is said but that what is said next holds for good."""
        entry = pyfuse3.EntryAttributes()
        entry.st_mode = stat.S_IFDIR
        entry.entry_timeout = entry.attr_timeout = _FOREVER
        return entry

    def fill(self, entry: pyfuse3.EntryAttributes, of: Listed, number: int) -> None:
        """Make `entry`, which began `blank`, say what a directory lists; `number` is the inode's."""
        _, _, mode, links, uid, gid, device, size, mtime_ns = of
        entry.st_ino = number
        entry.st_mode = mode & self._kept
        entry.st_nlink = links
        entry.st_uid = uid if self._uid is None else self._uid
        entry.st_gid = gid if self._gid is None else self._gid
        entry.st_rdev = device
        entry.st_size = size
        entry.st_blocks = -(-size // _BLOCK)
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = mtime_ns


def _first(chosen: int | None, recorded: int | None, own: int) -> int:
    """The owner to show: the one chosen by option, else the one recorded, else whoever mounts."""
    if chosen is not None:
        return chosen
    return own if recorded is None else recorded
