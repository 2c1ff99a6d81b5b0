"""A merged tree as one virtual tar: what `docker export` gives, of which nothing is copied.

The members are those of the layers, header and data as they lie there. Each directory is followed by what is in it,
as extracting tools expect who restore its times, and siblings are in the order in which they lie in the layers, so
that reading it from end to end reads each layer nearly forward. The first name of a file comes before its others.
A header is only made new where the old one would say something else: another name for the same place, a hard link
whose target is gone, a directory that no layer has, a dialect that tar tools read in several ways, a name with `./`
before it, as `docker export` writes none: to GNU tar what is in `a` has a name beginning with `a/`, and it restores
the time of `a` when others come.
"""

import stat
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from threading import Lock

from imgfs.blob import Blob
from imgfs.errors import Corrupt, InvalidImage
from imgfs.tar.fields import BLOCK, padded
from imgfs.tar.headers import member_header
from imgfs.tar.member import HARDLINK, REGULAR, SYMLINK, TYPES
from imgfs.tar.packed import PackedBytes
from imgfs.tree.tree import NO_LAYER, PLAIN_NAME, Paths, Tree

_MAX_SIZE = 1 << 62  # bytes; a file system has no larger ones
_MAX_TEXT = 4 << 30  # bytes of headers made here
_MAX_TRIED = 1000  # ranges that are read in one go without blocking
_TEXT, _ZEROS = NO_LAYER, NO_LAYER - 1  # in place of a layer: bytes made here, and zeros


class FlatPlan:
    """What a flat tar is made of: ranges of layers, headers of its own, zeros. `size` in bytes.

    Raises InvalidImage if it would be absurdly long.
    """

    _copies_headers = True  # from the layers, where they say of an entry what it is

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._paths = Paths(tree)
        self.ends = array("Q")
        self.layers = array("I")
        self.offsets = array("Q")
        self.text = PackedBytes()
        self.data_ends: dict[int, int] = {}
        """By layer, where the last data in its tar ends that is part of this: what is missing behind it is padding."""
        self._first_names: dict[int, int] = {}
        for entry in self._order():
            self._record(entry)
        self._range(_ZEROS, 0, 2 * BLOCK)
        self.text.finish()
        del self._tree, self._paths, self._first_names

    @property
    def size(self) -> int:
        return self.ends[-1]

    def _order(self) -> Iterator[int]:
        """All entries but the root, each directory right before what is in it, siblings as they lie in the layers."""
        places = self._places()
        waiting = [0]
        while waiting:
            entry = waiting.pop()
            if entry:
                yield entry
            # names of one file lie in one place: they stay sorted
            waiting += sorted(self._tree.children(entry), key=places.__getitem__)[::-1]

    def _places(self) -> list[int]:
        """For each entry a number that grows with the first place where something of it or below it lies."""
        tree = self._tree
        places = [layer << 64 | record for layer, record in zip(tree.layers, tree.records, strict=True)]
        for entry in range(len(tree) - 1, 0, -1):  # children have larger numbers than what they are in
            parent = tree.parents[entry]
            places[parent] = min(places[parent], places[entry])
        return places

    def _record(self, entry: int) -> None:
        tree = self._tree
        inode = tree.inode(entry)
        mode = tree.modes[inode]
        if not stat.S_ISDIR(mode) and tree.links[inode] > 1:
            first = self._first_names.setdefault(inode, entry)
            if first != entry:
                self._header(entry, first)
                return
        layer, record, header = tree.layers[inode], tree.records[inode], tree.headers[inode]
        size = tree.sizes[inode] if stat.S_ISREG(mode) else 0
        if tree.forms[entry] == PLAIN_NAME and self._copies_headers:
            stored = tree.stored_size(inode) if stat.S_ISREG(mode) else 0
            self._range(layer, record, header + padded(stored))
            self.data_ends[layer] = max(record + header + stored, self.data_ends.get(layer, 0))
            return
        self._header(entry)
        place, done, parts = record + header, 0, tree.sparse.get(inode)
        for offset, length in [(0, size)] if parts is None else parts:
            self._range(_ZEROS, 0, offset - done)
            self._range(layer, place, length)
            place, done = place + length, offset + length
        self._range(_ZEROS, 0, padded(size) - done)

    def _header(self, entry: int, first: int | None = None) -> None:
        """Make the headers of an entry; if `first` is given, those of a hard link to that one."""
        tree, inode = self._tree, self._tree.inode(entry)
        mode = tree.modes[inode]
        kind, link = TYPES[stat.S_IFMT(mode)], b""
        if first is not None:
            kind, link = HARDLINK, self._paths.of(first)
        elif kind == SYMLINK:
            link = tree.target(inode)
        data = self._headers(inode, self._paths.of(entry), kind, link)
        self._range(_TEXT, self.text.size, len(data))
        self.text.append(data)
        if self.text.size > _MAX_TEXT:
            raise InvalidImage("a flat tar of which too many headers are to be made")

    def _headers(self, inode: int, path: bytes, kind: bytes, link: bytes) -> bytes:
        """The headers of a name of `inode`, which is of a type of members; `link` is where a link leads."""
        tree = self._tree
        mode = tree.modes[inode]
        return member_header(
            path,
            kind,
            tree.sizes[inode] if kind == REGULAR else 0,
            stat.S_IMODE(mode),
            (tree.uids[inode], tree.gids[inode]),
            tree.mtimes[inode],
            link,
            tree.devices.get(inode, (0, 0)),
            tree.xattrs.get(inode, {}) if kind != HARDLINK else {},
        )

    def _range(self, layer: int, offset: int, size: int) -> None:
        if not size:
            return
        end = self.ends[-1] if self.ends else 0
        if end + size > _MAX_SIZE:
            raise InvalidImage("files that are too large together to be in one tar")
        if self.ends and self.layers[-1] == layer:
            length = end - (self.ends[-2] if len(self.ends) > 1 else 0)
            if layer == _ZEROS or self.offsets[-1] + length == offset:
                self.ends[-1] += size
                return
        self.ends.append(end + size)
        self.layers.append(layer)
        self.offsets.append(offset)


class FlatTar(Blob):
    """The tar that `plan` describes; `open_layer` opens a layer's tar, once, when a read first gets there."""

    def __init__(self, plan: FlatPlan, open_layer: Callable[[int], Blob]) -> None:
        self._plan = plan
        self._open_layer = open_layer
        self._lock = Lock()
        self._layers: dict[int, Blob] = {}

    @property
    def size(self) -> int:
        return self._plan.size

    def pread(self, size: int, offset: int) -> bytes:
        pieces = []
        for number, start, length in self._ranges(size, offset):
            piece = self._range(number, length, start)
            if len(piece) < length:
                if start + len(piece) < self._plan.data_ends.get(self._plan.layers[number], start + length):
                    raise Corrupt(f"layer {self._plan.layers[number]} ends before offset {start + length}")
                piece += bytes(length - len(piece))
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        pieces: list[bytes] = []
        for number, start, length in self._ranges(size, offset):
            layer = self._plan.layers[number]
            if len(pieces) == _MAX_TRIED:
                return None
            if layer in (_TEXT, _ZEROS):
                pieces.append(self._range(number, length, start))
                continue
            blob = self._layers.get(layer)
            piece = blob.try_pread(length, start) if blob is not None else None
            if piece is None or len(piece) < length:
                return None
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        with self._lock:
            layers = list(self._layers.values())
            self._layers.clear()
        for layer in layers:
            layer.close()

    def _ranges(self, size: int, offset: int) -> Iterator[tuple[int, int, int]]:
        """The ranges that a read touches: number, offset in what it is a range of, bytes."""
        plan = self._plan
        end = min(offset + size, plan.size)
        number = bisect_right(plan.ends, offset)
        while offset < end:
            start = plan.ends[number - 1] if number else 0
            stop = min(end, plan.ends[number])
            yield number, plan.offsets[number] + offset - start, stop - offset
            offset = stop
            number += 1

    def _range(self, number: int, size: int, offset: int) -> bytes:
        layer = self._plan.layers[number]
        if layer == _ZEROS:
            return bytes(size)
        if layer == _TEXT:
            return self._plan.text.read(size, offset)
        with self._lock:
            blob = self._layers.get(layer)
            if blob is None:
                blob = self._layers[layer] = self._open_layer(layer)
        return blob.pread(size, offset)
