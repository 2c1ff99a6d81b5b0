"""Ranges of a blob, each at an offset of its own."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator

from imgfs.blob.blob import MAX_SIZE, Blob
from imgfs.errors import Corrupt


class Ranges:
    """Where ranges of a blob lie in a `RangesBlob`; each takes 24 bytes of memory."""

    def __init__(self) -> None:
        self.size = 0
        self.starts, self.places, self.lengths = array("Q"), array("Q"), array("Q")

    def add(self, place: int, length: int) -> None:
        """Add the `length` bytes at `place` of the blob to the end. Raises Corrupt if there is no room for them."""
        if self.size + length > MAX_SIZE:
            raise Corrupt(f"more than {MAX_SIZE} bytes in all")
        self.starts.append(self.size)
        self.places.append(place)
        self.lengths.append(length)
        self.size += length

    def skip(self) -> None:
        """Leave out one byte, so that what follows is in a place of its own."""
        self.size += 1


class RangesBlob(Blob):
    """What `ranges` say, of `blob`; bytes between them are zeros. Closing it closes `blob`."""

    def __init__(self, blob: Blob, ranges: Ranges) -> None:
        self._blob = blob
        self._ranges = ranges

    @property
    def size(self) -> int:
        return self._ranges.size

    def pread(self, size: int, offset: int) -> bytes:
        pieces = [
            bytes(length) if place is None else self._checked(self._blob.pread(length, place), length, place)
            for place, length in self._parts(size, offset)
        ]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        pieces = list[bytes]()
        for place, length in self._parts(size, offset):
            piece = bytes(length) if place is None else self._blob.try_pread(length, place)
            if piece is None:
                return None
            pieces.append(self._checked(piece, length, place))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        self._blob.close()

    def try_close(self) -> bool:
        return self._blob.try_close()

    def _checked(self, piece: bytes, length: int, place: int | None) -> bytes:
        if len(piece) < length:
            raise Corrupt(f"range {place}+{length} lies outside its {self._blob.size} bytes")
        return piece

    def _parts(self, size: int, offset: int) -> Iterator[tuple[int | None, int]]:
        """Where `size` bytes from `offset` lie, one part after the other, and how many there; None for zeros."""
        ranges = self._ranges
        end = min(offset + size, ranges.size)
        number = max(bisect_right(ranges.starts, offset) - 1, 0)
        while offset < end and number < len(ranges.starts):
            start = ranges.starts[number]
            stop = start + ranges.lengths[number]
            if offset < start:
                length = min(start, end) - offset
                yield None, length
            elif offset < stop:
                length = min(stop, end) - offset
                yield ranges.places[number] + offset - start, length
            else:
                number += 1
                continue
            offset += length
        if offset < end:
            yield None, end - offset
