"""Where in an EROFS image the content of a tree's files lies: in the layers' tars, or laid out file by file.

With layers, a file lies where its layer's tar has it. Laid out behind them is what does not lie in whole blocks of a
tar: files of layers that have none, and parts of sparse files. Without, all is laid out. A sparse file is divided into
chunks of one size, each of which lies anywhere, or is a hole. Tried by the tests of `erofs_plan`.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from imgfs.erofs.superblock import BLOCK, BLOCK_BITS
from imgfs.errors import InvalidImage, quoted
from imgfs.tar.fields import padded
from imgfs.tree.assembly import Assembly
from imgfs.tree.sparse_chunks import Chunk, add_chunk, chunks
from imgfs.tree.tree import NO_LAYER, Tree

_HOLE = 0xFFFFFFFF
_MAX_BITS = 31
_MOST_SPARE, _MOST_SPARE_OF_FILE = 1 << 20, 1 << 16  # chunks of sparse files that have few data


class Device(NamedTuple):
    """A part of the image behind its metadata, by its first block and their number: a layer, or None for the rest."""

    layer: int | None
    start: int
    blocks: int


class Contents:
    """The places of the content of `tree`'s regular files: `add` each that has some, `place` all, then ask for them."""

    def __init__(self, tree: Tree, *, with_layers: bool) -> None:
        self._tree = tree
        tars = {*tree.layers} - {NO_LAYER} - tree.copies.keys() if with_layers else ()
        self._layers = dict.fromkeys(sorted(tars), 0)
        """How many bytes of each layer's tar are part of the image, of those that may be."""
        self._chunk_bits: dict[int, int] = {}
        self._loose: dict[int, int] = {}
        """How many blocks an entry's content takes that is laid out; once placed, the first of them."""
        self._starts: dict[int, int] = {}  # the first block of each layer
        self._spare = _MOST_SPARE
        self.devices: list[Device] = []
        self.end = 0
        """The block behind all that was placed."""

    @property
    def most_devices(self) -> int:
        """How many devices there may be."""
        return len(self._layers) + 1

    def add(self, entry: int) -> int:
        """Add the content of an entry; returns how many bytes the table of its chunks has, 0 if it has none.

        Raises InvalidImage if that would be absurdly long.
        """
        tree = self._tree
        layer, place = tree.layers[entry], self._place(entry)
        if entry in tree.sparse:
            return self._add_sparse(entry, layer)
        if layer not in self._layers or place % BLOCK:
            self._loose[entry] = padded(tree.sizes[entry]) >> BLOCK_BITS
        elif (end := place + tree.sizes[entry]) > self._layers[layer]:
            self._layers[layer] = end
        return 0

    def place(self, start: int) -> None:
        """Give all that was added its place from a block on."""
        tree = self._tree
        for layer, end in self._layers.items():
            if end:
                self._starts[layer] = start
                self.devices.append(Device(layer, start, padded(end) >> BLOCK_BITS))
                start += self.devices[-1].blocks
        first = start
        for entry in sorted(self._loose, key=lambda entry: (tree.layers[entry], tree.records[entry])):
            blocks = self._loose.pop(entry)  # and put it where it comes in order
            self._loose[entry] = start
            start += blocks
        if start > first:
            self.devices.append(Device(None, first, start - first))
        self.end = start

    def block(self, entry: int) -> int:
        """The first block of an entry's content, or of a sparse file the format of its chunks."""
        tree = self._tree
        if entry in self._chunk_bits:
            return self._chunk_bits[entry]
        loose = self._loose.get(entry)
        if loose is not None:
            return loose
        return self._starts[tree.layers[entry]] + (self._place(entry) >> BLOCK_BITS)

    def table(self, entry: int) -> bytes:
        """The table of the chunks of a sparse file; empty for any other."""
        if entry not in self._chunk_bits:
            return b""
        start, loose = self._starts.get(self._tree.layers[entry], 0), self._loose.get(entry, 0)
        blocks = list[int]()
        for chunk, block in self._chunks(entry):
            if chunk.is_hole:
                blocks.append(_HOLE)
            elif block is not None:
                blocks.append(start + block)
            else:
                blocks.append(loose)
                loose += _blocks(chunk)
        return struct.pack(f"<{len(blocks)}I", *blocks)

    def assemble(self, plan: Assembly) -> None:
        """Add all content to what an image is made of."""
        for layer in self._starts:
            end = self._layers[layer]
            plan.add_layer(layer, 0, end, padded(end) - end)
        tree = self._tree
        for entry in self._loose:
            layer, size = tree.layers[entry], tree.sizes[entry]
            if entry not in self._chunk_bits:
                plan.add_layer(layer, self._place(entry), size)
                plan.add_zeros(padded(size) - size)
                continue
            for chunk, block in self._chunks(entry):
                if block is None and not chunk.is_hole:
                    add_chunk(plan, tree, entry, chunk)
                    plan.add_zeros(_blocks(chunk) * BLOCK - (chunk.stop - chunk.start))

    def _add_sparse(self, entry: int, layer: int) -> int:
        tree = self._tree
        size, parts = tree.sizes[entry], tree.sparse[entry]
        bounds, stored = 0, 0
        for offset, length in parts:
            end = offset + length
            bounds |= offset | (end if end < size else 0)
            stored += length
        # the largest chunks that begin and end where parts do
        bits = min(
            (bounds & -bounds).bit_length() - 1 if bounds else _MAX_BITS + BLOCK_BITS, (size - 1).bit_length()
        )
        bits = min(max(bits - BLOCK_BITS, 0), _MAX_BITS)
        worth = 1 + 4 * len(parts) + (stored >> BLOCK_BITS)
        spare = min(self._spare, _MOST_SPARE_OF_FILE)
        while bits < _MAX_BITS and size - 1 >> BLOCK_BITS + bits >= worth + spare:
            bits += 1
        if size - 1 >> BLOCK_BITS + bits >= worth + spare:
            raise InvalidImage(f"{quoted(tree.path(entry))}: {size} bytes are too many for EROFS")
        self._chunk_bits[entry] = bits
        count, loose = 0, 0
        for chunk, block in self._chunks(entry):
            count += 1
            if block is not None:
                self._layers[layer] = max(self._layers[layer], block * BLOCK + chunk.stop - chunk.start)
            elif not chunk.is_hole:
                loose += _blocks(chunk)
        self._spare -= max(0, count - worth)
        if loose:
            self._loose[entry] = loose
        return 4 * count

    def _place(self, entry: int) -> int:
        """Where an entry's data are in its layer."""
        return self._tree.records[entry] + self._tree.headers[entry]

    def _chunks(self, entry: int) -> Iterator[tuple[Chunk, int | None]]:
        """The chunks of a sparse file, and the block of its layer's tar at which each begins, if it is there so."""
        may_be_there = self._tree.layers[entry] in self._layers
        for chunk in chunks(self._tree, entry, BLOCK << self._chunk_bits[entry]):
            is_there = may_be_there and chunk.stored is not None and chunk.stored % BLOCK == 0
            yield chunk, chunk.stored >> BLOCK_BITS if is_there and chunk.stored is not None else None


def _blocks(chunk: Chunk) -> int:
    return padded(chunk.stop - chunk.start) >> BLOCK_BITS
