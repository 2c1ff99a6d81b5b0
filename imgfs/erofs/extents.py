"""Where in an EROFS image the content of a file lies.

Format: Linux, fs/erofs/erofs_fs.h and fs/erofs/data.c: flat, flat with its end behind the inode, or in chunks, each in
any place or a hole. Tried by the tests of `image`.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from imgfs.erofs.inode import Inode, Layout
from imgfs.erofs.superblock import Superblock
from imgfs.errors import Corrupt

_CHUNK_BITS, _HAS_INDEXES, _HAS_48BIT = 0x1F, 0x20, 0x40
_KNOWN = 0x7F
_HOLE, _LONG_HOLE = (1 << 32) - 1, (1 << 48) - 1
_PIECE = 1 << 16  # bytes of a table of chunks that are read at once
_INDEX = struct.Struct("<HHI")

Read = Callable[[int, int], bytes]
"""Reads so many bytes at an address of metadata; raises Corrupt if they are not there."""


class Extent(NamedTuple):
    """`length` bytes at `offset` of a file, which lie at `address` in the image."""

    offset: int
    address: int
    length: int


def extents(inode: Inode, superblock: Superblock, devices: Sequence[int], read: Read) -> Iterator[Extent]:
    """The parts of the content that are stored, in order; the others are holes.

    `devices` are the blocks at which they begin where all lie end to end. Raises Corrupt if the content is compressed
    or its place cannot be.
    """
    size, block_size = inode.st_size, superblock.block_size
    if inode.layout in (Layout.COMPRESSED, Layout.COMPRESSED_SHORT):
        raise Corrupt("it is compressed, which imgfs does not read")
    if inode.layout == Layout.CHUNKS:
        return _merged(_chunks(inode, superblock, devices, read))
    if not size or inode.block is None:
        return iter(())
    start = inode.block * block_size
    if inode.layout == Layout.FLAT:
        return iter([Extent(0, start, size)])
    whole = (size - 1) // block_size * block_size
    if inode.end % block_size + size - whole > block_size:
        raise Corrupt("its end lies in two blocks")
    return _merged([Extent(0, start, whole), Extent(whole, inode.end, size - whole)])


def _chunks(inode: Inode, superblock: Superblock, devices: Sequence[int], read: Read) -> Iterator[Extent]:
    form = inode.chunk_format
    if form & ~_KNOWN:
        raise Corrupt(f"its chunks have an unknown format ({form:#x})")
    chunk_size = superblock.block_size << (form & _CHUNK_BITS)
    unit = _INDEX.size if form & _HAS_INDEXES else 4
    address = -(-inode.end // unit) * unit
    offset, table = 0, -(-inode.st_size // chunk_size) * unit
    for start in range(0, table, _PIECE):
        piece = read(address + start, min(_PIECE, table - start))
        for block, device in _indexes(piece, form):
            length = min(chunk_size, inode.st_size - offset)
            if block is not None:
                yield Extent(offset, (block + _start_of(device, devices)) * superblock.block_size, length)
            offset += length


def _indexes(piece: bytes, form: int) -> Iterator[tuple[int | None, int]]:
    """The block at which each chunk begins, None for a hole, and the number of its device."""
    if not form & _HAS_INDEXES:
        for (block,) in struct.iter_unpack("<I", piece):
            yield (None if block == _HOLE else block), 0
        return
    for high, device, low in _INDEX.iter_unpack(piece):
        block = low | high << 32 if form & _HAS_48BIT else low
        yield (None if block == (_LONG_HOLE if form & _HAS_48BIT else _HOLE) else block), device


def _start_of(device: int, devices: Sequence[int]) -> int:
    device &= (1 << len(devices).bit_length()) - 1
    if not device:
        return 0
    if device > len(devices) or not devices[device - 1]:
        raise Corrupt("its content lies on another device")
    return devices[device - 1]


def _merged(parts: Iterable[Extent]) -> Iterator[Extent]:
    """The same with those as one that follow each other."""
    last = Extent(0, 0, 0)
    for part in parts:
        if (last.offset + last.length, last.address + last.length) == (part.offset, part.address):
            last = last._replace(length=last.length + part.length)
        else:
            if last.length:
                yield last
            last = part
    if last.length:
        yield last
