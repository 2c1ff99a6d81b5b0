"""The inodes of an EROFS image: what is known of a file, and how its content is laid out.

Format: Linux, fs/erofs/erofs_fs.h, `erofs_inode_compact` and `erofs_inode_extended`, and fs/erofs/inode.c. Tried by
the tests of `image`.
"""

import os
import stat
import struct
from enum import IntEnum

import msgspec

from imgfs.blob import MAX_SIZE
from imgfs.erofs.superblock import Superblock
from imgfs.errors import Corrupt

SLOT = 32
"""Bytes between the addresses of inodes with numbers that follow each other."""
SHORTEST, LONGEST = 32, 64
"""Bytes of an inode of the shorter and of the longer form."""

_SHORT, _LONG = struct.Struct("<HHHHIIIIHH4x"), struct.Struct("<HHHHQIIIIqII16x")
_IS_LONG, _ONE_NAME = 1, 1 << 4
_KNOWN = 0x1F
_XATTR_HEADER = 12
_HOLE, _LONG_HOLE = (1 << 32) - 1, (1 << 48) - 1
_TYPES = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)


class Layout(IntEnum):
    """How the content of a file lies in the image."""

    FLAT = 0
    COMPRESSED = 1
    INLINE = 2  # flat, with what is after the last whole block behind the inode
    COMPRESSED_SHORT = 3
    CHUNKS = 4


class Inode(msgspec.Struct, frozen=True):
    """An inode. Fields that begin with `st_` are as in `os.stat_result`; `st_ino` is the number of the inode.

    `block` is the first of flat content, None where all of it is a hole; `chunk_format` is of content in chunks. Of
    its extended attributes, `xattrs_size` bytes lie at the address `xattrs`; `end` is the address behind them.
    """

    st_ino: int
    st_mode: int
    st_uid: int
    st_gid: int
    st_nlink: int
    st_size: int
    st_mtime_ns: int
    st_rdev: int
    layout: Layout
    block: int | None
    chunk_format: int
    xattrs: int
    xattrs_size: int
    st_dev: int = 0

    @property
    def end(self) -> int:
        return self.xattrs + self.xattrs_size


def parse_inode(data: bytes, number: int, address: int, superblock: Superblock) -> Inode:
    """The inode that begins `data`, which has LONGEST bytes unless the image ends. Raises Corrupt."""
    if len(data) < _SHORT.size:
        raise Corrupt("its inode lies beyond the end of the image")
    form = int.from_bytes(data[:2], "little")
    layout = form >> 1 & 7
    if form & ~_KNOWN or layout > Layout.CHUNKS:
        raise Corrupt(f"its inode has an unknown format ({form:#x})")
    seconds, nanoseconds = superblock.seconds, superblock.nanoseconds
    length = _SHORT.size
    if form & _IS_LONG:
        if len(data) < _LONG.size:
            raise Corrupt("its inode lies beyond the end of the image")
        length = _LONG.size
        _, count, mode, high, size, value, _, uid, gid, seconds, nanoseconds, links = _LONG.unpack(
            data[:length]
        )
    else:
        _, count, mode, high, size, passed, value, _, uid, gid = _SHORT.unpack(data[:length])
        seconds += passed
        links = high
        if form & _ONE_NAME and not stat.S_ISDIR(mode):
            links = 1
        else:
            high = 0
    kind = stat.S_IFMT(mode)
    if kind not in _TYPES:
        raise Corrupt(f"its inode has an unknown type ({mode:#o})")
    if size > MAX_SIZE or nanoseconds >= 1_000_000_000:
        raise Corrupt(f"its inode has a size of {size} bytes, a time of {nanoseconds} nanoseconds")
    hole = _LONG_HOLE if form & (_IS_LONG | _ONE_NAME) else _HOLE
    block: int | None = value | high << 32
    if layout == Layout.FLAT and (block == hole or (value == _HOLE and not high)):
        block = None
    return Inode(
        st_ino=number,
        st_mode=mode,
        st_uid=uid,
        st_gid=gid,
        st_nlink=links,
        st_size=size,
        st_mtime_ns=seconds * 1_000_000_000 + nanoseconds,
        st_rdev=_device(value) if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0,
        layout=Layout(layout),
        block=block,
        chunk_format=value & 0xFFFF,
        xattrs=address + length,
        xattrs_size=_XATTR_HEADER + 4 * (count - 1) if count else 0,
    )


def fits_short(size: int, owner: tuple[int, int], links: int) -> bool:
    """Whether an inode may have the shorter form if its time is that of the superblock.

    Linux before 6.15 takes all inodes of that form to have that time.
    """
    uid, gid = owner
    return size <= 0xFFFFFFFF and uid | gid | links <= 0xFFFF


def inode(
    layout: Layout,
    xattrs_size: int,
    mode: int,
    size: int,
    value: int,
    number: int,
    owner: tuple[int, int],
    mtime_ns: int | None,
    links: int,
) -> bytes:
    """An inode; `value` is its block, the format of its chunks, or `device_number`.

    `number` is for programs that take 32 bits of it. With no `mtime_ns`, the inode has the shorter form and the time of
    the superblock.
    """
    count = 1 + (xattrs_size - _XATTR_HEADER) // 4 if xattrs_size else 0
    if mtime_ns is None:
        return _SHORT.pack(layout << 1, count, mode, links, size, 0, value, number, *owner)
    seconds, nanoseconds = divmod(mtime_ns, 1_000_000_000)
    return _LONG.pack(
        _IS_LONG | layout << 1, count, mode, 0, size, value, number, *owner, seconds, nanoseconds, links
    )


def device_number(major: int, minor: int) -> int:
    """The number of a device as Linux puts it into 32 bits (`new_encode_dev`)."""
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def _device(value: int) -> int:
    """The number of a device as Linux puts it into 32 bits (`new_decode_dev`)."""
    return os.makedev(value >> 8 & 0xFFF, value & 0xFF | value >> 12 & 0xFFF00)
