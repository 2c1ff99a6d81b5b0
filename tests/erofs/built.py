"""Small EROFS images made in code, sound ones and others. Format: Linux, fs/erofs/erofs_fs.h."""

import struct
from collections.abc import Mapping, Sequence

BLOCK = 512
ROOT = 0
FLAT, COMPRESSED, INLINE, CHUNKS = 0, 1, 2, 4
DATA = 10  # block
_METADATA = 3  # block
_LONG = 1

PREFIX = struct.pack("<HB", 6, 4) + b"long."
"""A long prefix of attributes, which every image has: `trusted.long.`."""

Names = Sequence[tuple[bytes, int]]


def xattrs(shared: Sequence[int] = (), *entries: bytes) -> bytes:
    """The attributes of an inode: numbers of shared ones, and its own."""
    body = struct.pack("<IB7x", 0, len(shared)) + struct.pack(f"<{len(shared)}I", *shared)
    return body + b"".join(entry + bytes(-len(entry) % 4) for entry in entries)


def entry(number: int, name: bytes, value: bytes) -> bytes:
    """An attribute."""
    return struct.pack("<BBH", len(name), number, len(value)) + name + value


def inode(
    mode: int,
    data: bytes = b"",
    *,
    attributes: bytes = b"",
    layout: int = INLINE,
    value: int = 0,
    size: int = -1,
) -> bytes:
    """A long inode with its attributes and what is behind it."""
    count = (len(attributes) - 12) // 4 + 1 if attributes else 0
    head = struct.pack("<HHHH", _LONG | layout << 1, count, mode, 0)
    head += struct.pack("<QIIII", len(data) if size < 0 else size, value, 0, 1000, 70_000)
    return head + struct.pack("<QII16x", 1_600_000_000, 5, 1) + attributes + data


def directory(names: Names) -> bytes:
    """A block of a directory."""
    start, heads = 12 * len(names), b""
    for name, number in names:
        heads += struct.pack("<QHBB", number, start, 0, 0)
        start += len(name)
    return heads + b"".join(name for name, _ in names)


def image(
    inodes: Mapping[int, bytes], data: bytes = b"", *, features: int = 0, blocks: int = 16, **of: int
) -> bytes:
    """An image with inodes at their numbers, and data from its block DATA on, where shared attributes are, too.

    `of` are other numbers of the superblock.
    """
    fields = {
        "magic": 0xE0F5E1E2,
        "bits": 9,
        "nanoseconds": 0,
        "prefixes": 0,
        "start": 9 * BLOCK // 4,
        "devices": 0,
        "table": 0,
    } | of
    superblock = struct.pack("<IIIBBH", fields["magic"], 0, 2, fields["bits"], 0, ROOT)
    superblock += struct.pack("<QQI", len(inodes), 1_500_000_000, fields["nanoseconds"])
    superblock += struct.pack("<III32x", blocks, _METADATA, DATA)
    superblock += struct.pack(
        "<IHHHBBI", features, 0, fields["devices"], fields["table"], 0, fields["prefixes"], fields["start"]
    )
    whole = bytearray(blocks * BLOCK)
    whole[1024 : 1024 + len(superblock)] = superblock
    whole[9 * BLOCK : 9 * BLOCK + len(PREFIX)] = PREFIX
    whole[DATA * BLOCK : DATA * BLOCK + len(data)] = data
    for number, packed in inodes.items():
        start = _METADATA * BLOCK + number * 32
        whole[start : start + len(packed)] = packed
    return bytes(whole)


def sound() -> bytes:
    """An image with a bit of everything."""
    chunks = inode(0o100644, struct.pack("<III", DATA + 1, 0xFFFFFFFF, DATA), layout=CHUNKS, size=1400)
    attributes = xattrs([0], entry(4, b"a", b"1"), entry(0x80, b"b", b"22"))
    return image(
        {
            ROOT: inode(
                0o40755, directory([(b".", 0), (b"..", 0), (b"d", 8), (b"f", 16), (b"h", 16), (b"s", 24)])
            ),
            8: inode(0o41777, directory([(b".", 8), (b"..", 0), (b"c", 32), (b"n", 40)])),
            16: inode(0o100600, b"tail", attributes=attributes, value=DATA, size=BLOCK + 4),
            24: inode(0o120777, b"d/c"),
            32: chunks,
            40: inode(0o20600, value=0x503, layout=FLAT),
        },
        entry(1, b"shared", b"value") + bytes(1) + bytes(range(256)) * 4,
        features=0x40,
        prefixes=1,
    )
