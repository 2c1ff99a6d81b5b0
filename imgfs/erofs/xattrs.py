"""Extended attributes in an EROFS image.

Format: Linux, fs/erofs/erofs_fs.h, `erofs_xattr_ibody_header` and `erofs_xattr_entry`, and fs/erofs/xattr.c. Tried by
the tests of `image` and `erofs_plan`.
"""

import struct
from collections.abc import Iterator, Sequence

from imgfs.errors import Corrupt

ENTRY_SIZE = 4
"""Bytes of an attribute before its name."""
LONGEST_PREFIX = 260
"""Bytes that a long prefix takes at most."""
LARGEST = 65_535
"""Bytes of a value at most, one fewer than in Linux."""

_PREFIXES = {
    1: b"user.",
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
}
_WHOLE = (2, 3)  # prefixes that are whole names
_ENTRY = struct.Struct("<BBH")
_HEADER, _SHARED_COUNT = 12, 4  # bytes of the header of an inode's attributes, and where in it that is
_LONG_PREFIX = 0x80
_CUT_OFF = "its extended attributes are not complete"

Prefix = tuple[int, bytes]
"""The number of a prefix, and what follows that in names."""


def parse_body(body: bytes) -> tuple[Sequence[int], bytes]:
    """The numbers of the shared attributes of an inode, and its other ones, for `split_entries`. Raises Corrupt."""
    start = _HEADER + 4 * body[_SHARED_COUNT] if len(body) >= _HEADER else len(body) + 1
    if start > len(body):
        raise Corrupt(_CUT_OFF)
    return struct.unpack_from(f"<{body[_SHARED_COUNT]}I", body, _HEADER), body[start:]


def split_entries(data: bytes) -> Iterator[bytes]:
    """Attributes that follow each other, one by one. Raises Corrupt."""
    position = 0
    while position < len(data):
        size = entry_size(data[position : position + ENTRY_SIZE])
        yield data[position : position + size]
        position += -(-size // 4) * 4


def entry_size(data: bytes) -> int:
    """The size of an attribute that begins with ENTRY_SIZE bytes. Raises Corrupt."""
    if len(data) < ENTRY_SIZE:
        raise Corrupt(_CUT_OFF)
    name_size, _, value_size = _ENTRY.unpack(data)
    return int(ENTRY_SIZE + name_size + value_size)


def parse_entry(data: bytes, prefixes: Sequence[Prefix]) -> tuple[bytes | None, bytes]:
    """The name and the value of an attribute; None for a name that Linux does not show. Raises Corrupt."""
    name_size, number, value_size = _ENTRY.unpack_from(data)
    middle = ENTRY_SIZE + name_size
    if len(data) < middle + value_size:
        raise Corrupt(_CUT_OFF)
    infix = b""
    if number & _LONG_PREFIX:
        number &= ~_LONG_PREFIX
        number, infix = prefixes[number] if number < len(prefixes) else (0, b"")
    name = infix + data[ENTRY_SIZE:middle]
    if b"\0" in name:
        raise Corrupt("an extended attribute has a name with a NUL")
    prefix = _PREFIXES.get(number)
    return None if prefix is None else prefix + name, data[middle:]


def parse_prefixes(data: bytes, count: int) -> list[Prefix]:
    """Long prefixes that follow each other. Raises Corrupt."""
    found, position = list[Prefix](), 0
    for _ in range(count):
        size = int.from_bytes(data[position : position + 2], "little")
        item = data[position + 2 : position + 2 + size]
        if not 1 <= size <= 256 or len(item) < size:
            raise Corrupt("the prefixes of its extended attributes are not complete")
        found.append((item[0], item[1:]))
        position += -(-(2 + size) // 4) * 4
    return found


def entry(name: bytes, value: bytes) -> bytes | None:
    """An attribute, padded; None if none can be so."""
    for number, prefix in _PREFIXES.items():
        rest = name.removeprefix(prefix)
        if name.startswith(prefix) and (number in _WHOLE) is not bool(rest) and len(value) <= LARGEST:
            data = _ENTRY.pack(len(rest), number, len(value)) + rest + value
            return data + bytes(-len(data) % 4)
    return None


def body(shared: Sequence[int], entries: Sequence[bytes]) -> bytes:
    """The attributes of an inode: numbers of the shared ones, of which there are 255 at most, and its own entries."""
    return struct.pack(f"<IB7x{len(shared)}I", 0, len(shared), *shared) + b"".join(entries)
