"""A tree as a file, for a cache, so that merging is done once. Neither way makes a copy of the tree.

Form: a magic line; sections, each its length and so many bytes; a hash of all of these. Sections: the columns one after
another, little-endian; what only some entries have (msgpack); batches of sets of extended attributes (msgpack), up to
one that is empty; which entries have attributes, and which set. What is not as it was written is Corrupt.
"""

import hashlib
import stat
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain
from operator import le
from typing import BinaryIO

import msgspec

from imgfs.blob import Blob
from imgfs.decoders import msgpack_decoder
from imgfs.errors import Corrupt
from imgfs.tree.tree import NO_LAYER, Tree

_MAGIC = b"imgfs tree, version 12\n"
_LENGTH = struct.Struct("<Q")
_PIECE = 1 << 20  # bytes read at a time, and about those of a batch of sets
_MOST = 1 << 60  # bytes, of a file and of where it lies
_TYPE = 0o170000  # the bits of a mode that say of which type the entry is
_REMEMBERED = 1024  # sets that later ones are compared with, and those of a batch
_TEXTS = ("forms", "names_text", "targets_text")
_COLUMNS = (
    *("parents", "modes", "uids", "gids", "links", "sizes", "mtimes", "layers", "records", "headers"),
    *("name_ends", "firsts", "counts"),
)
_Xattrs = dict[bytes, bytes]


class _Rare(msgspec.Struct, array_like=True):
    """What only some entries have."""

    devices: dict[int, tuple[int, int]]
    sparse: dict[int, list[tuple[int, int]]]
    same: dict[int, int]
    lower_links: dict[int, bytes]
    copies: dict[int, str]
    damaged: dict[int, str]


def dump_tree(tree: Tree, file: BinaryIO) -> None:
    """Write the tree to a file, for `load_tree`. Raises what writing raises."""
    writer = _Writer(file)
    for name in _TEXTS:
        writer.section(getattr(tree, name))
    for name in _COLUMNS:
        writer.column(getattr(tree, name))
    rare = _Rare(tree.devices, tree.sparse, tree.same, tree.lower_links, tree.copies, tree.damaged)
    writer.section(msgspec.msgpack.encode(rare))
    numbers = array("I")
    for batch in _batches(tree.xattrs.values(), numbers):
        writer.section(msgspec.msgpack.encode(batch))
    writer.column(array("I", tree.xattrs))
    writer.column(numbers)
    writer.finish()


def load_tree(blob: Blob, layers: int) -> Tree:
    """The tree that `dump_tree` wrote, of as many layers. Raises Corrupt if this is none, and what reading raises."""
    reader = _Reader(blob)
    tree = Tree()
    try:
        for name in _TEXTS:
            getattr(tree, name).extend(reader.section())
        for name in _COLUMNS:
            setattr(tree, name, reader.column(getattr(tree, name)))
        rare = msgpack_decoder(_Rare).decode(reader.section())
        sets = list[_Xattrs]()
        while batch := msgpack_decoder(list[_Xattrs]).decode(reader.section()):
            sets += batch
        entries, numbers = reader.column(array("I")), reader.column(array("I"))
        tree.xattrs = {entry: sets[number] for entry, number in zip(entries, numbers, strict=True)}
    except (IndexError, ValueError, msgspec.MsgspecError) as error:
        raise Corrupt(f"tree in the cache: {error}") from None
    reader.finish()
    if {len(tree), len(tree.forms)} != {len(getattr(tree, name)) for name in _COLUMNS}:
        raise Corrupt("tree in the cache: columns of different lengths")
    tree.devices, tree.sparse = rare.devices, rare.sparse
    tree.same, tree.lower_links, tree.copies = rare.same, rare.lower_links, rare.copies
    tree.damaged = rare.damaged
    if not (len(tree) and _is_tree(tree) and _is_in_bounds(tree, layers)):
        raise Corrupt("tree in the cache: its entries do not make a tree")
    return tree


def _is_tree(tree: Tree) -> bool:
    """Whether each entry but the root is in one directory, which comes before it."""
    count = 1
    directories = [entry for entry, mode in enumerate(tree.modes) if mode & _TYPE == stat.S_IFDIR]
    for entry in directories:
        if children := tree.children(entry):
            if children.start <= entry or children.stop > len(tree):
                return False
            if tree.parents[children.start : children.stop] != array("I", [entry]) * len(children):
                return False
            count += len(children)
    return count == len(tree) and tree.is_directory(0)


def _is_in_bounds(tree: Tree, layers: int) -> bool:
    """Whether what entries refer to exists, and no number is larger than one of a file system can be."""
    named = (tree.same, tree.same.values(), tree.sparse, tree.devices, tree.xattrs, tree.lower_links)
    entries = list(chain.from_iterable(named))
    parts = [number for found in tree.sparse.values() for part in found for number in part]
    devices = [number for device in tree.devices.values() for number in device]
    return (
        all(map(le, tree.name_ends, tree.name_ends[1:]))
        and tree.name_ends[-1] == len(tree.names_text)
        and min([0, *entries, *parts, *devices]) == 0
        and max([0, *entries]) < len(tree)
        and max([*map(max, (tree.sizes, tree.records, tree.headers)), *parts]) <= _MOST
        and max([0, *devices]) <= 0xFFFF_FFFF
        and {*tree.layers} <= {*range(layers), NO_LAYER}
    )


class _Writer:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._file.write(_MAGIC)

    def section(self, data: bytes | bytearray | memoryview) -> None:
        for piece in (_LENGTH.pack(len(data)), data):
            self._hash.update(piece)
            self._file.write(piece)

    def column(self, column: "array[int]") -> None:
        self.section(memoryview(_ordered(column)).cast("B"))

    def finish(self) -> None:
        self._file.write(self._hash.digest())


class _Reader:
    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self._hash = hashlib.sha256()
        self._place = len(_MAGIC)
        self._end = blob.size - self._hash.digest_size
        if blob.pread(self._place, 0) != _MAGIC:
            raise Corrupt("tree in the cache: damaged, or of another version")

    def section(self) -> bytes:
        return b"".join(self._pieces())

    def column(self, column: "array[int]") -> "array[int]":
        """The next column, appended to an empty one. Raises ValueError if its length is none of a column."""
        for piece in self._pieces():
            column.frombytes(piece)
        return _ordered(column)

    def finish(self) -> None:
        """Raises Corrupt if something other was read than was written."""
        if (
            self._place != self._end
            or self._blob.pread(self._hash.digest_size + 1, self._end) != self._hash.digest()
        ):
            raise Corrupt("tree in the cache: damaged")

    def _pieces(self) -> Iterator[bytes]:
        (left,) = _LENGTH.unpack(self._read(_LENGTH.size))
        while left:
            piece = self._read(min(left, _PIECE))
            left -= len(piece)
            yield piece

    def _read(self, size: int) -> bytes:
        data = self._blob.pread(min(size, max(self._end - self._place, 0)), self._place)
        if len(data) != size:
            raise Corrupt("tree in the cache: cut off")
        self._place += size
        self._hash.update(data)
        return data


def _batches(xattrs: Iterable[_Xattrs], numbers: "array[int]") -> Iterator[list[_Xattrs]]:
    """Sets of attributes, most of them once, with no batch empty but the last; `numbers` become those of `xattrs`."""
    batch, size, count = list[_Xattrs](), 0, 0
    by_id = dict[int, int]()  # as most entries share theirs
    by_value = dict[frozenset[tuple[bytes, bytes]], int]()
    for found in xattrs:
        number = by_id.get(id(found))
        if number is None:
            for known in by_id, by_value:
                if len(known) >= _REMEMBERED:
                    known.clear()
            number = by_id[id(found)] = by_value.setdefault(frozenset(found.items()), count)
            if number == count:
                count += 1
                batch.append(found)
                size += sum(len(name) + len(value) for name, value in found.items())
        numbers.append(number)
        if size > _PIECE or len(batch) >= _REMEMBERED:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
    yield []


def _ordered(column: "array[int]") -> "array[int]":
    """A column in little-endian order, or back from it."""
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column
