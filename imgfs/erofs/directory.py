"""Directories of an EROFS image, block by block.

Format: Linux, fs/erofs/erofs_fs.h, `erofs_dirent`, and fs/erofs/dir.c: each block begins with entries, whose names
follow in the same order, all sorted. Tried by the tests of `image`.
"""

import struct
from collections.abc import Iterator

from imgfs.errors import Corrupt

_ENTRY = struct.Struct("<QHBB")
_LONGEST = 255
_SELF = (b".", b"..")


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
