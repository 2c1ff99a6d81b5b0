"""Directories of an EROFS image, block by block.

Format: Linux, fs/erofs/erofs_fs.h, `erofs_dirent`, and fs/erofs/dir.c: each block begins with entries, whose names
follow in the same order, all sorted. Tried by the tests of `image` and `erofs_plan`.
"""

import stat
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, repeat

from imgfs.erofs.superblock import BLOCK
from imgfs.errors import Corrupt

_ENTRY = struct.Struct("<QHBB")
_LONGEST = 255
_SELF = (b".", b"..")
_TYPES = {
    stat.S_IFREG: 1,
    stat.S_IFDIR: 2,
    stat.S_IFCHR: 3,
    stat.S_IFBLK: 4,
    stat.S_IFIFO: 5,
    stat.S_IFSOCK: 6,
    stat.S_IFLNK: 7,
}


def parse_block(block: bytes) -> Iterator[tuple[bytes, int]]:
    """Names and the numbers of their inodes, without those of the directory and its parent. Raises Corrupt."""
    first = int.from_bytes(block[8:10], "little")
    if first < _ENTRY.size or first % _ENTRY.size or first > len(block):
        raise Corrupt("a block of the directory does not begin with an entry")
    entries = list(_ENTRY.iter_unpack(block[:first]))
    ends = [start for _, start, _, _ in entries[1:]] + [len(block)]
    previous = first
    for (number, start, _, _), end in zip(entries, ends, strict=True):
        if start != previous or not start < end <= len(block):
            raise Corrupt("names of the directory do not follow each other")
        previous = end
        name = block[start:end]
        if end == len(block):
            name = name.partition(b"\0")[0]
        if not 0 < len(name) <= _LONGEST or b"/" in name or b"\0" in name:
            raise Corrupt("the directory has a name that no file can have")
        if name not in _SELF:
            yield name, number


def split(names: Sequence[bytes]) -> list[int]:
    """How the names of a directory, sorted, are divided into blocks: the number of the first in each, and of all.

    Those of the directory and its parent are among them.
    """
    starts, left = [0], BLOCK
    for number, name in enumerate(names):
        size = _ENTRY.size + len(name)
        if size > left:
            starts.append(number)
            left = BLOCK
        left -= size
    starts.append(len(names))
    return starts


def size_of_block(names: Sequence[bytes]) -> int:
    """How many bytes the names of a block take."""
    return _ENTRY.size * len(names) + sum(map(len, names))


def block(names: Sequence[bytes], numbers: Iterable[int], modes: Iterable[int]) -> bytes:
    """A block of names, with the numbers of their inodes and their modes."""
    starts = accumulate(map(len, names), initial=_ENTRY.size * len(names))
    types = (_TYPES[stat.S_IFMT(mode)] for mode in modes)
    return b"".join([*map(_ENTRY.pack, numbers, starts, types, repeat(0, len(names))), *names])
