"""Layer tars end to end as one tar that tools read to its end.

Tar tools stop at the first end-of-archive region. So those of all layers but the last are replaced with pax global
headers that hold only a comment of blanks, of exactly the same length: sizes and offsets of everything else are those
of the plain concatenation. A layer that ends inside a block, which engines accept, is padded with zeros, so that the
next one begins at a block. Format: POSIX.1-2001 pax, typeflag g.
"""

from collections.abc import Sequence
from functools import lru_cache

from imgfs.blob import Concatenation, WrappedBlob
from imgfs.tar.fields import BLOCK, padded
from imgfs.tar.headers import header_block
from imgfs.tar.tar_blob import TarBlob

_RECORD = 32 << 10  # longer comments make some tools complain


class JoinedTar(Concatenation):
    """The tars of `layers`, bottom first, as one; closing it closes them."""

    def __init__(self, layers: Sequence[TarBlob]) -> None:
        super().__init__([*map(_Joint, layers[:-1]), *map(_Padded, layers[-1:])])


class _Padded(WrappedBlob[TarBlob]):
    """A tar padded to whole blocks."""

    @property
    def size(self) -> int:
        return padded(self._blob.size)

    @property
    def known_size(self) -> int | None:
        size = self._blob.known_size
        return None if size is None else padded(size)

    def pread(self, size: int, offset: int) -> bytes:
        piece = self._blob.pread(size, offset)
        return piece if len(piece) == size else self._with_padding(piece, size, offset)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        piece = self._blob.try_pread(size, offset)
        if piece is None or len(piece) == size:
            return piece
        return None if self.known_size is None else self._with_padding(piece, size, offset)

    def _with_padding(self, piece: bytes, size: int, offset: int) -> bytes:
        """A piece that was cut short by the end of the layer, with the padding that belongs to it."""
        return piece + bytes(max(min(offset + size, self.size) - offset - len(piece), 0))


class _Joint(_Padded):
    """A tar that another one follows: its end-of-archive region is replaced."""

    def pread(self, size: int, offset: int) -> bytes:
        ending = self._blob.ending_before(offset + size)
        if ending is None:
            return super().pread(size, offset)
        return self._filled(ending, size, offset, self._blob.pread(max(ending - offset, 0), offset))

    def try_pread(self, size: int, offset: int) -> bytes | None:
        if not self._blob.knows_ending_before(offset + size):
            return None
        ending = self._blob.ending_before(offset + size)
        if ending is None:
            return super().try_pread(size, offset)
        before = self._blob.try_pread(ending - offset, offset) if offset < ending else b""
        return (
            None if before is None or self.known_size is None else self._filled(ending, size, offset, before)
        )

    def _filled(self, ending: int, size: int, offset: int, before: bytes) -> bytes:
        """The bytes asked for: `before` the ending, and its replacement."""
        length = self.size - ending
        return before + _filler(length, max(offset - ending, 0), min(offset + size - ending, length))


def _filler(length: int, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop` of headers of `length` bytes in all, a multiple of the block size."""
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
    """A global header of `length` bytes, its content included."""
    size = length - BLOCK
    comment = b""
    if size:
        start = b"%d comment=" % size
        comment = start.ljust(size - 1) + b"\n"
    return header_block(b"pax_global", b"g", size) + comment
