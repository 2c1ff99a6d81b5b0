"""The attributes of a node as the kernel takes them."""

import os
import stat

import pyfuse3

from imgfs.mount.options import MountOptions
from imgfs.view import File, Listed, Node, Symlink

_FOREVER = 86_400.0  # seconds; content never changes
_BLOCK = 512  # bytes, in which stat(2) counts blocks


class Attributes:
    """Makes attributes, with the owners and permissions that `options` set.

    If they `may_be_covered`, the kernel looks directories up each time that have a place to be covered at.
    """

    def __init__(self, options: MountOptions, *, may_be_covered: bool = False) -> None:
        self._kept = ~options.umask
        self._uid, self._gid = options.uid, options.gid
        self._own_uid, self._own_gid = os.getuid(), os.getgid()
        self._may_be_covered = may_be_covered
        self.size_unknown: set[int] = set()
        """Inode numbers of the files whose size was not known when the kernel was last sent it."""

    def of(self, node: Node, number: int, size: int | None) -> pyfuse3.EntryAttributes:
        """The attributes of `node`, with how long the kernel may keep them.

        `size` is in bytes. None means that it is unknown: 0 is sent, and the kernel asks again each time.
        """
        entry = pyfuse3.EntryAttributes()
        if size is None:
            self.size_unknown.add(number)
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
        may_change = node.name_may_change or (self._may_be_covered and is_coverable(node))
        entry.entry_timeout = 0.0 if may_change else _FOREVER
        entry.attr_timeout = 0.0 if node.mutable or size is None else _FOREVER
        return entry

    def blank(self) -> pyfuse3.EntryAttributes:
        """The attributes of a directory of which only the type is set, to be completed by `fill`."""
        entry = pyfuse3.EntryAttributes()
        entry.st_mode = stat.S_IFDIR
        entry.entry_timeout = entry.attr_timeout = _FOREVER
        return entry

    def fill(self, entry: pyfuse3.EntryAttributes, of: Listed, number: int) -> None:
        """Set what differs between the entries of a directory; `number` is the inode number."""
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


def is_coverable(node: Node) -> bool:
    """Whether another file system can be mounted at a directory."""
    return node.table is not None and node.number == 0 and node.table.place is not None


def known_size(node: Node) -> int | None:
    """The size of a node in bytes, found without blocking; None for a file whose size is unknown.

    That of a symbolic link is the length of its target.
    """
    if isinstance(node, File):
        return node.known_size
    return len(node.target) if isinstance(node, Symlink) else 0


def _first(chosen: int | None, recorded: int | None, own: int) -> int:
    """The owner to show: the one chosen by option, else the one recorded, else the user who mounts."""
    if chosen is not None:
        return chosen
    return own if recorded is None else recorded
