"""Headers for entries of a tree whose own, in their layer's tar, would say something else.

Format: pax (POSIX.1-2001), written by the standard library's `tarfile`; extended attributes as in `pax`.
"""

import stat
import tarfile

from imgfs.tar.pax import xattr_records
from imgfs.tar.tree import Tree

_TYPES = {
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


def entry_header(tree: Tree, entry: int, before: bytes, first: int | None = None) -> bytes:
    """All headers of an entry, a multiple of the block size; if `first` is given, those of a hard link to that entry.

    `before` comes before all paths.
    """
    inode = tree.inode(entry)
    info = tarfile.TarInfo(_text(before + tree.path(entry)))
    info.mode = stat.S_IMODE(tree.modes[inode])
    info.uid, info.gid = tree.uids[inode], tree.gids[inode]
    mtime = tree.mtimes[inode]
    info.mtime = mtime // 1_000_000_000
    info.pax_headers = xattr_records(tree.xattrs.get(inode, {}))
    if mtime % 1_000_000_000:
        seconds, fraction = divmod(abs(mtime), 1_000_000_000)
        info.pax_headers["mtime"] = f"{'-' if mtime < 0 else ''}{seconds}.{fraction:09}"
    if first is not None:
        info.type, info.linkname = tarfile.LNKTYPE, _text(before + tree.path(first))
        info.pax_headers = {}
    else:
        info.type = _TYPES[stat.S_IFMT(tree.modes[inode])]
        if info.type == tarfile.REGTYPE:
            info.size = tree.sizes[inode]
        elif info.type == tarfile.SYMTYPE:
            info.linkname = _text(tree.target(inode))
        elif inode in tree.devices:
            info.devmajor, info.devminor = tree.devices[inode]
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    """Bytes as `tobuf` turns them back, whatever the locale is."""
    return data.decode("utf-8", "surrogateescape")
