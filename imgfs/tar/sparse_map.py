"""Maps of sparse files: which parts of a file its data in the tar holds.

Format: GNU tar manual, "Storing Sparse Files": old GNU (type S), pax 0.0, 0.1 and 1.0. Errors are ValueError.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from imgfs.tar.fields import decimal, number

MAX_ENTRIES = 1 << 17
_MAX_TEXT = 1 << 20  # bytes of a map in text, as in Go since 1.25

# offsets and numbers of entries in a header of the old format and in extension blocks; whether more follow
_AREA, _ENTRIES, _MORE = 386, 4, 482
_EXTENSION_ENTRIES, _EXTENSION_MORE = 21, 504

Map = list[tuple[int, int]]


def checked(numbers: Sequence[int], size: int, stored: int) -> Map:
    """The map from alternating offsets and lengths, of a file of `size` bytes of which `stored` are in the tar.

    Raises ValueError unless the parts lie in order, inside the file, and add up.
    """
    if len(numbers) % 2 or len(numbers) > 2 * MAX_ENTRIES:
        raise ValueError("a sparse map of a wrong length")
    parts = list(zip(numbers[::2], numbers[1::2], strict=True))
    end = total = 0
    for offset, length in parts:
        if length < 0 or offset < end:
            raise ValueError("a sparse map out of order")
        end = offset + length
        total += length
    if end > size or total != stored:
        raise ValueError("a sparse map that does not fit its file")
    return [(offset, length) for offset, length in parts if length]


class OldMap:
    """The map of a member of type S, which begins in its header and continues in the blocks after it."""

    def __init__(self, header: bytes) -> None:
        self.numbers: list[int] = []
        self.complete = False
        self._read(header[_AREA:], _ENTRIES, header[_MORE])

    def take(self, block: bytes) -> None:
        """Take the next block. Raises ValueError if it is not part of a map."""
        self._read(block, _EXTENSION_ENTRIES, block[_EXTENSION_MORE])

    def _read(self, area: bytes, entries: int, more: int) -> None:
        for position in range(0, 24 * entries, 24):
            if not area[position]:
                break
            self.numbers += [
                number(area[position : position + 12]),
                number(area[position + 12 : position + 24]),
            ]
        self.complete = not more


class LeadingMap:
    """The map of a member of format 1.0, at the start of its data: the number of parts, then their numbers."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.complete = False
        self._text = bytearray()
        self._lines = 0
        self._wanted = 1  # lines, as far as known

    def take(self, piece: bytes) -> None:
        """Take the bytes that come next; the last may follow the map. Raises ValueError if they are not a map."""
        self._text += piece
        self._lines += piece.count(b"\n")
        if len(self._text) > _MAX_TEXT:
            raise ValueError("a sparse map that is too long")
        if self._wanted == 1 and self._lines:
            (count,) = _numbers([bytes(self._text.partition(b"\n")[0])])
            if not 0 <= count <= MAX_ENTRIES:
                raise ValueError("a sparse map of a wrong length")
            self._wanted += 2 * count
        if self._lines >= self._wanted:
            self.numbers = _numbers(bytes(self._text).split(b"\n")[1 : self._wanted])
            self.complete = True


class SparseRecords(NamedTuple):
    """The description of a sparse file in pax records; `name` may be empty.

    `size` is None if they do not record it, `numbers` if the map is at the start of the data.
    """

    name: bytes
    size: int | None
    numbers: list[int] | None


def in_records(records: Mapping[bytes, bytes]) -> SparseRecords | None:
    """The description of a sparse file in the records of a member; None for another file, or an unknown format."""
    if b"GNU.sparse.map" not in records and b"GNU.sparse.major" not in records:  # nearly always
        return None
    listed = records.get(b"GNU.sparse.map", b"")
    version = records.get(b"GNU.sparse.major", b""), records.get(b"GNU.sparse.minor", b"")
    numbers = None
    if version in ((b"0", b"0"), (b"0", b"1")) or (version == (b"", b"") and listed):
        numbers = _numbers(listed.split(b",") if listed else [])
        if _numbers([records.get(b"GNU.sparse.numblocks", b"")]) != [len(numbers) / 2]:
            raise ValueError("a sparse map of a wrong length")
    elif version != (b"1", b"0"):
        return None
    size = records.get(b"GNU.sparse.size") or records.get(b"GNU.sparse.realsize")
    return SparseRecords(records.get(b"GNU.sparse.name", b""), decimal(size) if size else None, numbers)


def _numbers(texts: Sequence[bytes]) -> list[int]:
    try:
        return [decimal(text) for text in texts]
    except ValueError as error:
        raise ValueError(f"a sparse map with something other than numbers: {error}") from None
