"""The gzip index that rapidgzip exports, read while it is being written.

The format is indexed_gzip's (its zran.c): after a header come all points, each the stored byte after the one
it starts in, the decoded offset and how many bits of the byte before belong to it, and after
them their windows in the same order. Taking it as a stream keeps one window in memory, not all of them.
"""

import io
import struct
from collections.abc import Generator

from imgfs.codec.seek_table import SeekTableBuilder

_HEADER = struct.Struct("<5sBxQQIII")  # magic, version, stored size, size, spacing, window size, points
_POINT = struct.Struct("<QQBB")  # stored offset, decoded offset, bits, whether a window follows
_MAGIC, _VERSION = b"GZIDX", 1


class IndexSink(io.RawIOBase):
    """A file object that hands every point written to it to `builder`.

    `size` is the decoded size that the index states, and `complete` whether all of it has come.
    Raises ValueError from `write` if that is no index.
    """

    def __init__(self, builder: SeekTableBuilder) -> None:
        super().__init__()
        self.size = 0
        self.complete = False
        self._builder = builder
        self._pending = bytearray()
        self._position = 0
        self._steps = self._parse()
        self._wanted = next(self._steps)

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True  # rapidgzip asks, and seeks to the start when it begins and when it is done

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._position

    def write(self, data: bytes) -> int:  # type: ignore[override]  # typeshed's Buffer is 3.12
        self._pending += data
        self._position += len(data)
        while len(self._pending) >= self._wanted and not self.complete:
            field = bytes(self._pending[: self._wanted])
            del self._pending[: self._wanted]
            try:
                self._wanted = self._steps.send(field)
            except StopIteration:
                self.complete = True
        return len(data)

    def _parse(self) -> Generator[int, bytes, None]:
        """Yields how many bytes it wants next and is sent them."""
        header = yield _HEADER.size
        magic, version, _, self.size, _, window_size, count = _HEADER.unpack(header)
        if magic != _MAGIC or version != _VERSION:
            raise ValueError("not an index of gzip seek points")
        points = yield count * _POINT.size
        for stored, offset, bits, has_window in _POINT.iter_unpack(points):
            window = (yield window_size) if has_window else b""
            self._builder.add(offset, 8 * stored - bits, window)
