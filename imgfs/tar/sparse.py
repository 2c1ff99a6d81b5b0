"""Maps of sparse files: which parts of the file the data in the tar holds.

Format: GNU tar manual, "Storing Sparse Files": old GNU (type S), pax 0.0, 0.1 and 1.0. Errors are ValueError.
"""

from collections.abc import Sequence

from imgfs.tar.fields import BLOCK, number

MAX_ENTRIES = 1 << 17

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


def old_numbers(area: bytes, entries: int) -> list[int]:
    """The offsets and lengths in the area of an old GNU header, up to the first that is empty."""
    numbers = []
    for position in range(0, 24 * entries, 24):
        if not area[position]:
            break
        numbers += [number(area[position : position + 12]), number(area[position + 12 : position + 24])]
    return numbers


def leading_map(data: bytes) -> tuple[list[int], int] | None:
    """The numbers of a map of format 1.0, which lies before the data, and its padded length in bytes.

    None if `data` does not hold all of it yet.
    """
    end = data.find(b"\n", 0, 20)
    if end < 0:
        if len(data) >= 20:
            raise ValueError("a sparse map without a length")
        return None
    if not data[:end].isdigit() or int(data[:end]) > MAX_ENTRIES:
        raise ValueError("a sparse map of a wrong length")
    count = 2 * int(data[:end])
    lines = data[end + 1 :].split(b"\n", count)
    if len(lines) <= count:
        if any(len(line) > 20 for line in lines):
            raise ValueError("a sparse map of something but numbers")
        return None
    if not all(line.isdigit() and len(line) <= 20 for line in lines[:count]):
        raise ValueError("a sparse map of something but numbers")
    length = end + 1 + sum(map(len, lines[:count])) + count
    return [int(line) for line in lines[:count]], length + -length % BLOCK
