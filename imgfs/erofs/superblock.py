"""The superblock of an EROFS image, which says where everything else begins.

Format: Linux, fs/erofs/erofs_fs.h, `erofs_super_block` and `erofs_deviceslot`. Its checksum is not compared, as it
covers nothing but the first block. Tried by the tests of `image` and `erofs_plan`.
"""

import struct

import msgspec

from imgfs.errors import Corrupt

SUPERBLOCK, SUPERBLOCK_SIZE = 1024, 128
"""Where it lies, and how many bytes of it are read."""
DEVICE_SIZE = 128
"""Bytes of a slot in the table of devices."""

BLOCK_BITS = 9
BLOCK = 1 << BLOCK_BITS
"""Bytes of a block of the images that are written here: members of tars begin at multiples of that."""

_MAGIC = 0xE0F5E1E2
_FIELDS = struct.Struct("<8xIBxH8xqI4xII32xI2xHHBBIQ8xQ8x")
_DEVICE = struct.Struct("<68xI2xH52x")
_WRITTEN = struct.Struct("<IIIBBHQqIIII16s16sIHHH38x")
_WRITTEN_DEVICE = struct.Struct("<64sII56x")
_TIMES = 0x02  # of the compatible features: inodes have times of their own
_CHUNKS = 0x04  # of the incompatible ones
_PLAIN_PREFIXES = 0x10  # of the compatible features
_DEVICE_TABLE, _PREFIXES, _48BIT = 0x08, 0x40, 0x80  # of the incompatible ones
_KNOWN = 0xFF  # those, and those of compressed files, which are refused one by one
_SMALLEST, _LARGEST = 9, 16  # bits of a block's size


class Superblock(msgspec.Struct, frozen=True):
    """What an image says of itself. Addresses are offsets in bytes.

    `root` is the number of the root directory's inode; the inode 0 lies at `metadata`. Shared attributes are numbered
    from `shared_xattrs`. `seconds` and `nanoseconds` are the time from which short inodes count. There are
    `prefix_count` long prefixes of attributes from `prefixes`, an offset in the content of the inode `packed` unless
    that is 0. The table of `device_count` devices lies at `device_table`.
    """

    block_size: int
    root: int
    metadata: int
    shared_xattrs: int
    seconds: int
    nanoseconds: int
    prefix_count: int
    prefixes: int
    packed: int
    device_count: int
    device_table: int
    has_48bit: bool


def parse_superblock(data: bytes) -> Superblock:
    """The superblock in SUPERBLOCK_SIZE bytes. Raises Corrupt if it is none, or of a format that is not known."""
    if len(data) != SUPERBLOCK_SIZE or int.from_bytes(data[:4], "little") != _MAGIC:
        raise Corrupt("no EROFS image")
    (
        compatible,
        bits,
        root,
        seconds,
        nanoseconds,
        metadata,
        shared_xattrs,
        incompatible,
        device_count,
        device_table,
        directory_bits,
        prefix_count,
        prefixes,
        packed,
        long_root,
    ) = _FIELDS.unpack(data)
    if incompatible & ~_KNOWN:
        raise Corrupt(f"an EROFS image with features that imgfs does not know ({incompatible & ~_KNOWN:#x})")
    if not _SMALLEST <= bits <= _LARGEST or directory_bits:
        raise Corrupt(
            f"an EROFS image with blocks of 2^{bits} bytes, directories of 2^{directory_bits} blocks"
        )
    if nanoseconds >= 1_000_000_000:
        raise Corrupt(f"an EROFS image with a time of {nanoseconds} nanoseconds")
    has_48bit = bool(incompatible & _48BIT)
    return Superblock(
        block_size=1 << bits,
        root=long_root if has_48bit and long_root else root,
        metadata=metadata << bits,
        shared_xattrs=shared_xattrs << bits,
        seconds=seconds,
        nanoseconds=nanoseconds,
        prefix_count=prefix_count if incompatible & _PREFIXES else 0,
        prefixes=prefixes * 4,
        packed=0 if compatible & _PLAIN_PREFIXES else packed,
        device_count=device_count if incompatible & _DEVICE_TABLE else 0,
        device_table=device_table * DEVICE_SIZE,
        has_48bit=has_48bit,
    )


def parse_device(data: bytes, *, has_48bit: bool) -> int:
    """The block at which a device begins where all lie end to end, from its slot; 0 if it lies elsewhere."""
    low, high = _DEVICE.unpack(data)
    return int(low | (high << 32 if has_48bit else 0))


def superblock(
    *, root: int, inodes: int, blocks: int, shared_xattrs: int, mtime_ns: int, uuid: bytes, devices: int
) -> bytes:
    """A superblock of an image with 512-byte blocks whose inode 0 would lie at its beginning.

    It has no checksum: with such blocks mkfs.erofs 1.8 writes none, and fsck.erofs 1.8 crashes if there is one.
    `root` is the number of the root's inode, `shared_xattrs` a block, `mtime_ns` the time of short inodes; `devices`
    follow the superblock, see `device`.
    """
    features = _CHUNKS | (_DEVICE_TABLE if devices else 0)
    return _WRITTEN.pack(
        _MAGIC,
        0,
        _TIMES,
        BLOCK_BITS,
        0,
        root,
        inodes,
        *divmod(mtime_ns, 1_000_000_000),
        blocks,
        0,
        shared_xattrs,
        uuid,
        b"",
        features,
        0,
        devices,
        (SUPERBLOCK + SUPERBLOCK_SIZE) // DEVICE_SIZE,
    )


def device(tag: bytes, blocks: int, start: int) -> bytes:
    """A slot of the table of devices; `start` is the block at which it begins where all lie end to end."""
    return _WRITTEN_DEVICE.pack(tag, blocks, start)
