"""The gzip index that rapidgzip exports, read as a stream, so that one window is in memory and not all of them.

The format is indexed_gzip's (its zran.c): after a header come all points, each the stored byte after the one
it starts in, the decoded offset and how many bits of the byte before belong to it, and after
them their windows in the same order.
"""

import struct
from typing import BinaryIO

from imgfs.codec.seek_table import SeekTableBuilder

_HEADER = struct.Struct("<5sBxQQIII")  # magic, version, stored size, size, spacing, window size, points
_POINT = struct.Struct("<QQBB")  # stored offset, decoded offset, bits, whether a window follows
_MAGIC, _VERSION = b"GZIDX", 1


def read_index(file: BinaryIO, builder: SeekTableBuilder) -> int:
    """Give every point of an index to `builder`; returns the decoded size that the index states.

    Raises ValueError if it is no index, or cut off.
    """
    magic, version, _, size, _, window_size, count = _HEADER.unpack(_take(file, _HEADER.size))
    if magic != _MAGIC or version != _VERSION:
        raise ValueError("not an index of gzip seek points")
    for stored, offset, bits, has_window in _POINT.iter_unpack(_take(file, count * _POINT.size)):
        builder.add(offset, 8 * stored - bits, _take(file, window_size) if has_window else b"")
    return int(size)


def _take(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise ValueError("the index is cut off")
    return data
