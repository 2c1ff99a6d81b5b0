"""The records of a SquashFS image: its superblock, inodes, entries of directories, attributes.

Tried by the tests of `squashfs_plan`.
"""

import stat
import struct
from collections.abc import Mapping, Sequence

from imgfs.squashfs.tables import METADATA

SUPERBLOCK_SIZE = 96
BLOCK_BITS = 17
BLOCK = 1 << BLOCK_BITS
"""Bytes of a block of a file's content; the last one has fewer."""
NONE = 0xFFFFFFFF
"""In place of the number of attributes, of which there are none."""

_MAGIC, _GZIP = 0x73717368, 1
_NOTHING_COMPRESSED = 0x01 | 0x02 | 0x08 | 0x100 | 0x800
_NO_FRAGMENTS, _NO_XATTRS = 0x10, 0x200
_NO_TABLE = (1 << 64) - 1
_SUPERBLOCK = struct.Struct("<IIIIIHHHHHHQQQQQQQQ")
_HEAD = struct.Struct("<HHHHII")
_TYPES = {
    stat.S_IFDIR: 1,
    stat.S_IFREG: 2,
    stat.S_IFLNK: 3,
    stat.S_IFBLK: 4,
    stat.S_IFCHR: 5,
    stat.S_IFIFO: 6,
    stat.S_IFSOCK: 7,
}
_LONG = 7  # more than the type of the short form of an inode
_PLAIN_BLOCK = 1 << 24
_MOST_ENTRIES, _MOST_BETWEEN = 256, 32_767
"""How many entries follow one header, and how far the numbers of their inodes may be from the number in it."""
_HEADER, _ENTRY = struct.Struct("<III"), struct.Struct("<HhHH")
_NO_NAMES = 3  # bytes that a directory is said to have more than it does
_NAMESPACES = {b"user.": 0, b"trusted.": 1, b"security.": 2}


def superblock(
    *, inodes: int, ids: int, root: int, tables: Sequence[int], size: int, has_xattrs: bool
) -> bytes:
    """The superblock: `tables` are the places of the inodes, the directories, the IDs, and the attributes."""
    inode_table, directory_table, id_table, xattr_table = tables
    flags = _NOTHING_COMPRESSED | _NO_FRAGMENTS | (0 if has_xattrs else _NO_XATTRS)
    sizes = (BLOCK, 0, _GZIP, BLOCK_BITS, flags, ids, 4, 0)
    ends = (inode_table, directory_table, _NO_TABLE, _NO_TABLE)
    attributes = xattr_table if has_xattrs else _NO_TABLE
    return _SUPERBLOCK.pack(_MAGIC, inodes, 0, *sizes, root, size, id_table, attributes, *ends)


def head(mode: int, owner: tuple[int, int], mtime: int, number: int, *, is_long: bool) -> bytes:
    """How an inode begins: `owner` are indexes into the table of IDs, `mtime` is in seconds."""
    kind = _TYPES[stat.S_IFMT(mode)] + (_LONG if is_long else 0)
    return _HEAD.pack(kind, stat.S_IMODE(mode), *owner, mtime, number)


def directory(
    *,
    place: tuple[int, int],
    links: int,
    size: int,
    parent: int,
    indexes: Sequence[bytes],
    xattrs: int,
    is_long: bool,
) -> bytes:
    """The rest of a directory's inode: `place` is where its entries are, `size` bytes of them, see `Listing`."""
    block, offset = place
    if not is_long:
        return struct.pack("<IIHHI", block, links, size + _NO_NAMES, offset, parent)
    fixed = struct.pack("<IIIIHHI", links, size + _NO_NAMES, block, parent, len(indexes), offset, xattrs)
    return fixed + b"".join(indexes)


def is_large_directory(size: int) -> bool:
    """Whether only the long form has room for so many bytes of entries."""
    return size + _NO_NAMES > 0xFFFF


def file(
    *, start: int, size: int, holes: int, links: int, xattrs: int, blocks: bytes, is_long: bool
) -> bytes:
    """The rest of a file's inode: its blocks lie end to end from `start` on.

    `blocks` are their sizes as `block_sizes` or `full_blocks` returns them.
    """
    if not is_long:
        return struct.pack("<IIII", start, NONE, 0, size) + blocks
    return struct.pack("<QQQIIII", start, size, holes, links, NONE, 0, xattrs) + blocks


def is_large_file(start: int, size: int) -> bool:
    """Whether only the long form has room for a file."""
    return start > 0xFFFFFFFF or size > 0xFFFFFFFF


def block_sizes(sizes: Sequence[int]) -> bytes:
    """Blocks of a file, by their sizes in bytes; 0 is one of zeros that are not there."""
    return struct.pack(f"<{len(sizes)}I", *(size and size | _PLAIN_BLOCK for size in sizes))


def full_blocks(size: int) -> bytes:
    """The blocks of a file without holes."""
    whole, rest = divmod(size, BLOCK)
    return struct.pack("<I", BLOCK | _PLAIN_BLOCK) * whole + (block_sizes([rest]) if rest else b"")


def link(links: int, target: bytes) -> bytes:
    """The rest of a symbolic link's inode; in the long form, the number of its attributes follows."""
    return struct.pack("<II", links, len(target)) + target


class Listing:
    """The entries of a directory: `place` is where in the table of directories they begin.

    `data` is what that has of them. `indexes` say for inodes of the long form where names begin, by metadata block.
    """

    def __init__(self, place: tuple[int, int]) -> None:
        self.place = place
        self.data = bytearray()
        self.indexes: list[bytes] = []
        self._indexed = 0  # the metadata block of the last header in `indexes`, from that of `place`

    def add(
        self, names: Sequence[bytes], references: Sequence[int], numbers: Sequence[int], modes: Sequence[int]
    ) -> None:
        """Add all names, sorted, with the references and numbers of their inodes, and their modes."""
        start = 0
        while start < len(names):
            block, number = references[start] >> 16, numbers[start]
            stop = start + 1
            while (
                stop < len(names)
                and stop - start < _MOST_ENTRIES
                and references[stop] >> 16 == block
                and abs(numbers[stop] - number) <= _MOST_BETWEEN
            ):
                stop += 1
            self._index(names[start])
            self.data += _HEADER.pack(stop - start - 1, block, number)
            for place in range(start, stop):
                name, kind = names[place], _TYPES[stat.S_IFMT(modes[place])]
                self.data += _ENTRY.pack(
                    references[place] & 0xFFFF, numbers[place] - number, kind, len(name) - 1
                )
                self.data += name
            start = stop

    def _index(self, name: bytes) -> None:
        block, offset = self.place
        blocks = (offset + len(self.data)) // METADATA
        if blocks > self._indexed:
            self._indexed = blocks
            at = block + blocks * (METADATA + 2)
            self.indexes.append(struct.pack("<III", len(self.data), at, len(name) - 1) + name)


def attributes(xattrs: Mapping[bytes, bytes]) -> tuple[int, bytes]:
    """Those of some extended attributes that the format has room for: how many, and what the table has of them."""
    records = list[bytes]()
    for name, value in xattrs.items():
        for prefix, number in _NAMESPACES.items():
            if name.startswith(prefix):
                rest = name.removeprefix(prefix)
                records.append(
                    struct.pack("<HH", number, len(rest)) + rest + struct.pack("<I", len(value)) + value
                )
    return len(records), b"".join(records)
