"""Writing segments: of the trees of layers, and of the layers of other segments.

Format: as `segment` has it. Reads no layer. Tried by the tests of `segment`.
"""

import hashlib
import json
import stat
import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import reduce
from operator import le, or_

from imgfs.errors import InvalidImage
from imgfs.locate.layer_columns import LayerColumns
from imgfs.locate.place import (
    BLOCK,
    CAPABLE,
    HAS_DIGESTS,
    KIND,
    LINKED,
    OPAQUE,
    ROW,
    UNSEEN,
    ZONE,
    Place,
    padded,
)
from imgfs.locate.segment import COUNT, MAGIC
from imgfs.tree import Tree
from imgfs.tree.whiteouts import OverlaidLayer

_CAPABILITY = b"security.capability"
_PIECE = 1 << 20  # bytes written at a time
_NAMES = 1 << 14  # names put together at a time
_COMPARED = 1 << 12  # bytes of names that are compared with their small letters at a time
_MOST_NAMES = 1 << 32  # bytes of one layer


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer's names and columns as they lie in a file, but for where."""

    place: Place
    names: bytes | memoryview
    block: Sequence[bytes | bytearray | memoryview]

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.place.names_size + self.place.block_size

    @classmethod
    def of(cls, layer: LayerColumns) -> "PackedLayer":
        """A layer of another segment."""
        place = layer.place
        return cls(place, layer.names, [layer.whole_block()])


def pack_layer(key: bytes, tree: Tree, digests: Mapping[int, bytes] | None) -> PackedLayer:
    """A layer with this tree, in which whiteouts are files; `digests` of the contents of files, None if not known.

    Raises InvalidImage if the tree is beyond what the form takes.
    """
    names = _names(tree)
    kinds, numbers = _kinds(tree)
    wide = len(kinds) > 256
    if not all(map(le, tree.parents, tree.parents[1:])):
        raise InvalidImage("its entries are not in the order of their directories")
    if len(kinds) > 1 << 16 or len(names) >= _MOST_NAMES:
        raise InvalidImage("too many different owners and modes, or too long names")
    inodes = range(len(tree)) if not tree.same else [tree.inode(entry) for entry in range(len(tree))]
    sizes, mtimes = tree.sizes, tree.mtimes
    if tree.same:
        sizes = array("Q", (sizes[inode] for inode in inodes))
        mtimes = array("q", (mtimes[inode] for inode in inodes))
    links = {}
    if tree.lower_links:
        links = {
            entry: tree.lower_links[inode].decode("latin-1")
            for entry, inode in enumerate(inodes)
            if inode in tree.lower_links
        }
    known = sorted((digests or {}).items())
    symlinks = [entry for entry, inode in enumerate(inodes) if stat.S_ISLNK(tree.modes[inode])]
    targets, target_ends = bytearray(), array("I")
    for entry in symlinks:
        targets += tree.target(inodes[entry])
        target_ends.append(len(targets))
    folded = _folded(names)
    columns: dict[str, bytes | bytearray] = {
        "kinds": b"".join(KIND.pack(*kind) for kind in kinds),
        "kind_numbers": _ordered(numbers if wide else array("B", numbers)),
        "zones": _zones(sizes, mtimes),
        "ends": _ordered(_ends(tree)),
        "parents": _ordered(tree.parents),
        "sizes": _ordered(sizes),
        "mtimes": _ordered(mtimes),
        "links": json.dumps(links).encode() if links else b"",
        "symlinks": _ordered(array("I", symlinks)),
        "target_ends": _ordered(target_ends),
        "targets": targets,
        "capitals": _ordered(array("I", folded)),
        "folded_names": b"".join([b"\0", *(name + b"\0" for name in folded.values())]) if folded else b"",
        "digest_entries": _ordered(array("I", (entry for entry, _ in known))),
        "digests": b"".join(digest for _, digest in known),
    }
    # not joined, as they may be hundreds of megabytes
    block = [
        piece for column in columns.values() for piece in (column, bytes(padded(len(column)) - len(column)))
    ]
    place = Place(
        key=key,
        names=0,
        names_size=len(names),
        block=0,
        block_size=sum(map(len, block)),
        count=len(tree),
        digests=len(known),
        symlinks=len(symlinks),
        targets_size=len(columns["targets"]),
        capitals=len(folded),
        folded_size=len(columns["folded_names"]),
        kinds=len(kinds),
        links_size=len(columns["links"]),
        width=1 + wide,
        facts=reduce(or_, (flags for *_, flags in kinds)) | (HAS_DIGESTS if digests is not None else 0),
    )
    return PackedLayer(place, names, block)


def write_segment(
    layers: Sequence[PackedLayer], write: Callable[[bytes | bytearray | memoryview], object]
) -> bytes:
    """Write a segment of some layers; returns the digest of what was written. Raises what `write` raises."""
    sha = hashlib.sha256()

    def put(data: bytes | bytearray | memoryview) -> None:
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            sha.update(piece)
            write(piece)

    names = len(MAGIC)
    block = padded(names + sum(layer.place.names_size for layer in layers))
    gap = block - names - sum(layer.place.names_size for layer in layers)
    rows = []
    for layer in layers:
        place = replace(layer.place, names=names, block=block)
        rows.append(ROW.pack(*astuple(place)))
        names, block = names + place.names_size, block + place.block_size
    put(MAGIC)
    for layer in layers:
        put(layer.names)
    put(bytes(gap))
    for layer in layers:
        for piece in layer.block:
            put(piece)
    put(b"".join([*rows, COUNT.pack(len(rows))]))
    return sha.digest()


def _names(tree: Tree) -> bytes:
    """The names, each ended by NUL."""
    # some at a time, as a name takes more memory than its bytes
    pieces = (
        b"\0".join([*tree.names(range(start, min(start + _NAMES, len(tree)))), b""])
        for start in range(1, len(tree), _NAMES)
    )
    return b"".join([b"\0", *pieces])


def _folded(names: bytes) -> dict[int, bytes]:
    """Those of the names, each ended by NUL, that have capital letters, in small letters by their entries."""
    found: dict[int, bytes] = {}
    start = entry = 0
    while start < len(names):
        end = names.find(b"\0", start + _COMPARED) + 1 or len(names)
        piece = names[start:end]
        if not piece.isascii() or piece != piece.lower():
            text = piece.decode("utf-8", "surrogateescape")
            pairs = zip(text.split("\0"), text.lower().split("\0"), strict=True)
            for number, (name, folded) in enumerate(pairs, entry):
                if name != folded:
                    found[number] = folded.encode("utf-8", "surrogateescape")
        entry += piece.count(b"\0")
        start = end
    return found


def _ends(tree: Tree) -> "array[int]":
    """Where each name ends, if each is followed by a NUL."""
    return array("I", (end + number for number, end in enumerate(tree.name_ends)))


def _kinds(tree: Tree) -> tuple[list[tuple[int, int, int, int]], "array[int]"]:
    """What entries have in common, and the number of each entry's."""
    flags = _flags(tree)
    numbers = array("H")
    known: dict[tuple[int, int, int], int] = {}
    kinds: list[tuple[int, int, int, int]] = []
    for values in zip(tree.modes, tree.uids, tree.gids, strict=True):
        number = known.get(values)
        if number is None:
            number = known[values] = min(len(kinds), 0xFFFF)
            kinds.append((*values, 0))
        numbers.append(number)
    rare: dict[tuple[int, int, int, int], int] = {}
    for entry in {*flags, *tree.same}:
        inode = tree.inode(entry)
        shared = flags.get(inode, 0) & (CAPABLE | LINKED)
        kind = (tree.modes[inode], tree.uids[inode], tree.gids[inode], flags.get(entry, 0) | shared)
        if kind not in rare:
            rare[kind] = min(len(kinds), 0xFFFF)
            kinds.append(kind)
        numbers[entry] = rare[kind]
    return kinds, numbers


def _flags(tree: Tree) -> dict[int, int]:
    """The flags of the entries that have some."""
    flags: dict[int, int] = {}
    layer = OverlaidLayer(tree, {})
    unseen = list(layer.whiteouts())
    for entry in unseen:  # with all that is below
        flags[entry] = UNSEEN
        unseen += tree.children(entry)
    for entry in layer.opaque_directories():
        flags[entry] = flags.get(entry, 0) | OPAQUE
    for entry, xattrs in tree.xattrs.items():
        if _CAPABILITY in xattrs:
            flags[entry] = flags.get(entry, 0) | CAPABLE
    for entry in tree.lower_links:
        flags[entry] = flags.get(entry, 0) | LINKED
    return flags


def _zones(sizes: "array[int]", mtimes: "array[int]") -> bytes:
    return b"".join(
        ZONE.pack(max(sizes[start : start + BLOCK]), min(times := mtimes[start : start + BLOCK]), max(times))
        for start in range(0, len(sizes), BLOCK)
    )


def _ordered(column: "array[int]") -> bytes:
    """The bytes of a column in little-endian order."""
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()
