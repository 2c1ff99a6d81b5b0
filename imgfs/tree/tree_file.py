"""A tree as bytes, for a cache, so that merging is done once.

Form: a magic line, a hash of all that follows, the length of what is rare, that (msgpack), then the columns one after
another, little-endian, as many values each as the tree has entries. What is not as it was written is Corrupt.
"""

import hashlib
import struct
import sys
from array import array

import msgspec

from imgfs.blob import Blob
from imgfs.decoders import msgpack_decoder
from imgfs.errors import Corrupt
from imgfs.tree.tree import Tree

_MAGIC = b"imgfs tree, version 7\n"
_HASH_SIZE = 32
_LENGTH = struct.Struct("<Q")
_COLUMNS = (
    *("parents", "modes", "uids", "gids", "links", "sizes", "mtimes", "layers", "records", "headers"),
    *("name_ends", "firsts", "counts"),
)


class _Rare(msgspec.Struct, array_like=True):
    """What only some entries have, and the texts that columns point into."""

    count: int
    forms: bytes
    names: bytes
    targets: bytes
    xattrs: dict[int, dict[bytes, bytes]]
    devices: dict[int, tuple[int, int]]
    sparse: dict[int, list[tuple[int, int]]]
    same: dict[int, int]
    lower_links: dict[int, bytes]


def dump_tree(tree: Tree) -> bytes:
    """The tree as bytes, for `load_tree`."""
    rare = _Rare(
        len(tree),
        bytes(tree.forms),
        bytes(tree.names_text),
        bytes(tree.targets_text),
        tree.xattrs,
        tree.devices,
        tree.sparse,
        tree.same,
        tree.lower_links,
    )
    packed = msgspec.msgpack.encode(rare)
    body = b"".join(
        [_LENGTH.pack(len(packed)), packed, *(_ordered(getattr(tree, of)).tobytes() for of in _COLUMNS)]
    )
    return _MAGIC + _hash(body) + body


def load_tree(blob: Blob) -> Tree:
    """The tree that `dump_tree` made. Raises Corrupt if this is none, and what reading raises."""
    data = blob.pread(blob.size, 0)
    start = len(_MAGIC) + _HASH_SIZE
    body = memoryview(data)[start:]
    if not data.startswith(_MAGIC) or _hash(body) != data[len(_MAGIC) : start]:
        raise Corrupt("tree in the cache: damaged, or of another version")
    try:
        (length,) = _LENGTH.unpack_from(body)
        rare = msgpack_decoder(_Rare).decode(body[_LENGTH.size : _LENGTH.size + length])
    except (struct.error, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Corrupt(f"tree in the cache: {error}") from None
    tree = Tree()
    place = _LENGTH.size + length
    for name in _COLUMNS:
        column: array[int] = getattr(tree, name)
        end = place + rare.count * column.itemsize
        if end > len(body):
            raise Corrupt("tree in the cache: cut off")
        column.frombytes(body[place:end])
        setattr(tree, name, _ordered(column))
        place = end
    if place != len(body):
        raise Corrupt("tree in the cache: of another length")
    tree.forms, tree.names_text, tree.targets_text = map(bytearray, (rare.forms, rare.names, rare.targets))
    tree.xattrs, tree.devices, tree.sparse = rare.xattrs, rare.devices, rare.sparse
    tree.same, tree.lower_links = rare.same, rare.lower_links
    return tree


def _ordered(column: "array[int]") -> "array[int]":
    """A column in little-endian order, or back from it."""
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column


def _hash(data: bytes | memoryview) -> bytes:
    return hashlib.sha256(data).digest()
