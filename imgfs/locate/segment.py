"""Columns of the entries of many layers in one file, mapped into memory.

Form: a magic line; the names of all layers, each ended by NUL, in the order of their entries; a block of columns for
each layer; the table of the layers, a row each; the number of rows. All numbers are little-endian, columns begin at
multiples of 8. A file is named by the sha256 digest of its bytes, which is compared when they may have changed.
Reads no tree and opens no file; `segment_writer` makes what is read here. Tried by the tests of that.
"""

import struct
from mmap import mmap

from imgfs.errors import Corrupt
from imgfs.locate.layer_columns import LayerColumns
from imgfs.locate.place import ROW, Place, columns_of, padded

MAGIC = b"imgfs locate, 3\n"
COUNT = struct.Struct("<I")


class Segment:
    """The layers in `buffer`, which is a whole file. Raises Corrupt if it is none."""

    def __init__(self, buffer: bytes | mmap) -> None:
        self.buffer = buffer
        self.data = data = memoryview(buffer)
        try:
            (count,) = COUNT.unpack(data[-COUNT.size :])
            table = data[len(data) - COUNT.size - count * ROW.size : len(data) - COUNT.size]
            places = [Place(*row) for row in ROW.iter_unpack(table)]
        except struct.error as error:
            raise Corrupt(f"index of layers: {error}") from None
        if bytes(data[: len(MAGIC)]) != MAGIC or len(places) != count or not count:
            raise Corrupt("index of layers: cut off, or of another version")
        at = len(MAGIC)
        for place in places:
            _, last, size = [*columns_of(place)][-1]
            is_right = place.names == at and place.block + place.block_size <= len(data) - len(table)
            if (
                not is_right
                or last + padded(size) != place.block + place.block_size
                or place.width not in (1, 2)
            ):
                raise Corrupt("index of layers: its table does not fit")
            at += place.names_size
        self.layers = [LayerColumns(buffer, data, place) for place in places]

    def __len__(self) -> int:
        return sum(map(len, self.layers))
