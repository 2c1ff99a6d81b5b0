"""Layer tars end to end as one tar that tools read to its end.

Tar tools stop at the first end-of-archive region. So those of all layers but the last are shown as pax global
headers holding nothing but a comment of blanks, of exactly the same length: sizes and offsets of everything else are
those of the plain concatenation. Format: POSIX.1-2001 pax, typeflag g.
"""

from collections.abc import Sequence
from functools import lru_cache

from imgfs.blob import Blob, Concatenation
from imgfs.tar.fields import BLOCK
from imgfs.tar.headers import header_block
from imgfs.tar.tar_blob import TarBlob

_RECORD = 32 << 10  # longer comments make some tools complain


class JoinedTar(Concatenation):
    """The tars of `layers`, bottom first, as one; closing it closes them."""

    def __init__(self, layers: Sequence[TarBlob]) -> None:
        super().__init__([*map(_Joint, layers[:-1]), *layers[-1:]])


class _Joint(Blob):
    """A tar that another follows: its ending is filled."""

    def __init__(self, layer: TarBlob) -> None:
        self._layer = layer

    @property
    def size(self) -> int:
        return self._layer.size

    @property
    def known_size(self) -> int | None:
        return self._layer.known_size

    def pread(self, size: int, offset: int) -> bytes:
        ending = self._layer.ending_before(offset + size)
        if ending is None:
            return self._layer.pread(size, offset)
        return self._filled(ending, size, offset, self._layer.pread(max(ending - offset, 0), offset))

    def try_pread(self, size: int, offset: int) -> bytes | None:
        if not self._layer.knows_ending_before(offset + size):
            return None
        ending = self._layer.ending_before(offset + size)
        if ending is None:
            return self._layer.try_pread(size, offset)
        before = self._layer.try_pread(ending - offset, offset) if offset < ending else b""
        return (
            None if before is None or self.known_size is None else self._filled(ending, size, offset, before)
        )

    def close(self) -> None:
        self._layer.close()

    def _filled(self, ending: int, size: int, offset: int, before: bytes) -> bytes:
        """The bytes asked for: `before` the ending, and what fills it."""
        length = self._layer.size - ending
        whole = length - length % BLOCK
        start = max(offset - ending, 0)
        stop = min(offset + size - ending, length)
        filler = _filler(whole, start, min(stop, whole))
        # a tar that is no whole number of blocks cannot be filled to its end; what follows it is out of step anyway
        rest = bytes(max(stop - max(start, whole), 0))
        return before + filler + rest


def _filler(length: int, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop` of the headers that fill `length` bytes, a multiple of the block size."""
    pieces = []
    while start < stop:
        first = start - start % _RECORD
        record = _record(min(_RECORD, length - first))
        piece = record[start - first : stop - first]
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)


@lru_cache(maxsize=_RECORD // BLOCK)
def _record(length: int) -> bytes:
    """A global header of `length` bytes, all in all."""
    size = length - BLOCK
    comment = b""
    if size:
        start = b"%d comment=" % size
        comment = start.ljust(size - 1) + b"\n"
    return header_block(b"pax_global", b"g", size) + comment
