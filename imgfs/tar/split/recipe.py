"""The recipe by which an engine assembles a layer's tar: literal bytes, and files to be read between them.

Format: vbatts/tar-split, `tar/storage`: gzip of JSON lines in the order of the tar. A line of type 2 holds literal
bytes: headers, padding, endings. One of type 1 follows each header and stands for the `size` bytes of the file called
`name`, or `name_raw` if that is not UTF-8, and holds their crc64. Where the files are is not known here.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from imgfs.blob import Blob
from imgfs.codec import detect, open_forward
from imgfs.decoders import json_decoder
from imgfs.errors import Corrupt, quoted
from imgfs.tar.packed import PackedBytes

_CHUNK = 256 << 10
_MAX_LINE = 32 << 20  # a long ending is one line
_MAX_TEXT = 2 << 30
_MAX_LINES = 10_000_000  # a member has two
_MAX_SIZE = 1 << 60
_FILE, _LITERAL = 1, 2
_CRC_SIZE = 8
_SPARSE = b"GNU.sparse."


Naming = Callable[[bytes], bytes]
"""Returns the name of the file that holds a member's content; called once for each member with content, in order."""


class _Line(msgspec.Struct, gc=False):
    type: int
    name: str = ""
    name_raw: bytes | None = None
    size: int = 0
    payload: bytes | None = None


class FileExtent(NamedTuple):
    """A file's part in the tar: from `start`, `size` bytes of the file called `name`, whose crc64 is `crc`."""

    number: int
    start: int
    size: int
    crc: int
    name: bytes


ReadFile = Callable[[FileExtent, int, int], bytes]
"""Returns the bytes of a file from one offset in it to another."""


class Recipe:
    """The places of files in a tar of `size` bytes; all else is literal. Immutable once parsed.

    `members_end` is where the bytes of the last member end, before their padding. Empty files are left out. `doubtful`
    is whether the tar that it describes may not be the one it was made from: the engines' library counts the bytes of
    a sparse file in the pax format wrongly.
    """

    def __init__(self) -> None:
        self.size = 0
        self.members_end = 0
        self.doubtful = False
        self._starts = array("Q")
        self._totals = array("Q", [0])  # bytes of all files before each of them, and of all
        self._crcs = array("Q")
        self._name_ends = array("Q", [0])
        self._literals = PackedBytes()
        self._names = PackedBytes()

    @property
    def footprint(self) -> int:
        """About how many bytes of memory it takes."""
        return 32 * len(self._starts) + self._literals.footprint + self._names.footprint

    def read(self, size: int, offset: int, read_file: ReadFile) -> bytes:
        """Up to `size` bytes of the tar at an offset, those of files as `read_file` returns them."""
        end = min(offset + size, self.size)
        if end <= offset:
            return b""
        literals = self.literals(offset, end)
        pieces: list[bytes | bytearray] = []
        position, taken = offset, 0
        for extent in self.files(offset, end):
            start = extent.start
            if position < start:
                pieces.append(literals[taken : taken + start - position])
                taken += start - position
                position = start
            last = min(end - start, extent.size)
            pieces.append(read_file(extent, position - start, last))
            position = start + last
        if not pieces:
            return literals
        pieces.append(literals[taken:])
        return b"".join(pieces)

    def literals(self, start: int, end: int) -> bytes:
        """All literal bytes between two offsets of the tar, end to end, files left out."""
        first = self._literal_offset(start)
        return self._literals.read(self._literal_offset(end) - first, first)

    def files(self, start: int, end: int) -> list[FileExtent]:
        """The files with bytes between two offsets of the tar, in order."""
        first = bisect_right(self._starts, start)
        if first and start < self._starts[first - 1] + self._size(first - 1):
            first -= 1
        last = bisect_left(self._starts, end)
        if first >= last:
            return []
        base = self._name_ends[first]
        names = self._names.read(self._name_ends[last] - base, base)
        return [
            FileExtent(
                number,
                self._starts[number],
                self._size(number),
                self._crcs[number],
                names[self._name_ends[number] - base : self._name_ends[number + 1] - base],
            )
            for number in range(first, last)
        ]

    def runs(self) -> Iterator[tuple[int, int]]:
        """Start and end of each run of literal bytes between files, in order; a run may be empty."""
        position = 0
        for number, start in enumerate(self._starts):
            yield position, start
            position = start + self._size(number)
        yield position, self.size

    def add_literal(self, data: bytes) -> None:
        """Add literal bytes to the end of the tar."""
        self._literals.append(data)
        self.size += len(data)
        if _SPARSE in data:
            self.doubtful = True

    def add_file(self, name: bytes, size: int, crc: int) -> None:
        """Add a member's bytes to the end of the tar."""
        if size:
            self._starts.append(self.size)
            self._totals.append(self._totals[-1] + size)
            self._crcs.append(crc)
            self._names.append(name)
            self._name_ends.append(self._names.size)
        self.size += size
        self.members_end = self.size

    def finish(self) -> None:
        """End adding."""
        self._literals.finish()
        self._names.finish()

    def _size(self, number: int) -> int:
        return self._totals[number + 1] - self._totals[number]

    def _literal_offset(self, offset: int) -> int:
        """How many literal bytes lie before an offset of the tar."""
        after = bisect_right(self._starts, offset)
        if not after:
            return offset
        inside = min(offset - self._starts[after - 1], self._size(after - 1))
        return offset - self._totals[after - 1] - inside


def parse_recipe(blob: Blob, name: str, naming: Naming | None = None) -> Recipe:
    """Parse the stored form in `blob`, which stays open; `naming` returns the name of a member's file.

    Raises Corrupt naming `name`, or what reading raises.
    """
    split, count = Recipe(), 0
    try:
        for lines in _lines(open_forward(blob, detect(blob))):
            count += len(lines)
            if count > _MAX_LINES:
                raise ValueError(f"more than {_MAX_LINES} lines")
            for line in lines:
                _add(split, line, naming)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise Corrupt(f"{name}: not a tar-split that can be read: {error}") from None
    split.finish()
    return split


def _lines(text: Blob) -> Iterator[Sequence[_Line]]:
    decoder = json_decoder(_Line)
    offset, begun = 0, bytearray()
    while chunk := text.pread(_CHUNK, offset):
        offset += len(chunk)
        whole, newline, rest = chunk.rpartition(b"\n")
        if newline:
            yield decoder.decode_lines(begun + whole)
            begun = bytearray(rest)
        else:
            begun += chunk
        if len(begun) > _MAX_LINE or offset > _MAX_TEXT:
            raise ValueError("lines that do not end")
    yield decoder.decode_lines(begun)


def _add(split: Recipe, line: _Line, naming: Naming | None) -> None:
    if line.type == _LITERAL:
        split.add_literal(line.payload or b"")
    elif line.type == _FILE:
        name = line.name_raw if line.name_raw is not None else line.name.encode()
        if not 0 <= line.size <= _MAX_SIZE - split.size:
            raise ValueError(f"{quoted(name)} with a size of {line.size} bytes")
        if line.size and (line.payload is None or len(line.payload) != _CRC_SIZE):
            raise ValueError(f"{quoted(name)} without its checksum")
        if naming is not None and line.size:
            name = naming(name)
        split.add_file(name, line.size, int.from_bytes(line.payload or b"", "big") if line.size else 0)
    else:
        raise ValueError(f"an entry of type {line.type}")
