"""Maps of sparse files: which parts of the file the data in the tar holds.

Format: GNU tar manual, "Storing Sparse Files": old GNU (type S), pax 0.0, 0.1 and 1.0. Errors are ValueError.
"""

from collections.abc import Sequence

from imgfs.tar.fields import number

MAX_ENTRIES = 1 << 17
_LONGEST = 20  # digits of a number in text

# where a header of the old format keeps its map, and in extension blocks; whether more follow
_AREA, _ENTRIES, _MORE = 386, 4, 482
_EXTENSION_ENTRIES, _EXTENSION_MORE = 21, 504

Map = list[tuple[int, int]]


def checked(numbers: Sequence[int], size: int, stored: int) -> Map:
    """The map that offsets and lengths in turn make, of a file of `size` bytes of which `stored` are there.

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
    """The map of a member of type S: it begins in the header, and goes on in the blocks behind that."""

    def __init__(self, header: bytes) -> None:
        self.numbers: list[int] = []
        self.complete = False
        self._read(header[_AREA:], _ENTRIES, header[_MORE])

    def take(self, block: bytes) -> None:
        """Take the next block. Raises ValueError if it is none of a map."""
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
    """The map of a member of format 1.0, which lies before its data: how many parts there are, then their numbers."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._length: int | None = None
        self._begun = b""

    @property
    def complete(self) -> bool:
        return len(self.numbers) == self._length

    def take(self, piece: bytes) -> None:
        """Take the bytes that come next; the last may lie behind the map. Raises ValueError if they are none."""
        text = self._begun + piece
        while not self.complete:
            line, newline, rest = text.partition(b"\n")
            if len(line) > _LONGEST or (newline and not line.isdigit()):
                raise ValueError("a sparse map of something but numbers")
            if not newline:
                break
            text = rest
            if self._length is not None:
                self.numbers.append(int(line))
            elif int(line) <= MAX_ENTRIES:
                self._length = 2 * int(line)
            else:
                raise ValueError("a sparse map of a wrong length")
        self._begun = text
