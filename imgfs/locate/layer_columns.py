"""The entries of one layer in columns of a segment, which are read as they are asked for.

Form: as `segment` has it. Tried by the tests of that.
"""

import json
import re
import struct
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from mmap import mmap

from imgfs.errors import Corrupt
from imgfs.locate.place import DIGEST_SIZE, KIND, LINKED, UNSEEN, ZONE, Kind, Place, columns_of

# so many directories on the way to one, one is remembered; in each layer, so many
_EVERY, _MOST_PATHS = 64, 100
_SCANNED = 16 << 10  # bytes of names in which one is found sooner by going through them


class LayerColumns:
    """The entries of one layer, numbered from 0, the root, as in its tree; further names of a file repeat its values.

    Parents come before what is in them, in the order of which the entries are sorted, and siblings by their names.
    """

    def __init__(self, buffer: bytes | mmap, data: memoryview, place: Place) -> None:
        self._buffer = buffer
        self._data = data
        self.place = place
        self.key = place.key
        self._last = 0, b""  # a directory, and its path with a slash behind it
        self._paths = {0: b""}  # of some directories on the ways to others
        self._at = {name: (start, size) for name, start, size in columns_of(place)}

    def __len__(self) -> int:
        return self.place.count

    @cached_property
    def names(self) -> memoryview:
        """The names, each ended by NUL; that of the root is empty."""
        return self._data[self.place.names : self.place.names + self.place.names_size]

    @cached_property
    def ends(self) -> Sequence[int]:
        """Where each name ends."""
        return self._column("ends", "I")

    @cached_property
    def parents(self) -> Sequence[int]:
        """The directory that each entry is in; the root is in itself."""
        return self._column("parents", "I")

    @cached_property
    def sizes(self) -> Sequence[int]:
        """The size of each entry in bytes."""
        return self._column("sizes", "Q")

    @cached_property
    def mtimes(self) -> Sequence[int]:
        """The modification time of each, in nanoseconds since the epoch."""
        return self._column("mtimes", "q")

    @cached_property
    def kind_numbers(self) -> Sequence[int]:
        """Which of `kinds` each entry is of."""
        return self._column("kind_numbers", "BH"[self.place.width - 1])

    @cached_property
    def zones(self) -> list[tuple[int, int, int]]:
        """As of `ZONE`, for each `BLOCK` entries."""
        return list(ZONE.iter_unpack(self._bytes("zones")))

    @cached_property
    def symlinks(self) -> Sequence[int]:
        """The entries that are symbolic links, sorted."""
        return self._column("symlinks", "I")

    @cached_property
    def target_ends(self) -> Sequence[int]:
        """Where the target of each ends in the text of all of them."""
        return self._column("target_ends", "I")

    @cached_property
    def capitals(self) -> Sequence[int]:
        """The entries whose names have capital letters, sorted."""
        return self._column("capitals", "I")

    @cached_property
    def digest_entries(self) -> Sequence[int]:
        """The entries whose contents have a digest, sorted."""
        return self._column("digest_entries", "I")

    @property
    def digests(self) -> memoryview:
        """The sha256 digests of their contents, one after the other."""
        return self._bytes("digests")

    @cached_property
    def kinds(self) -> list[Kind]:
        """What entries may have in common."""
        return [*map(Kind._make, KIND.iter_unpack(self._bytes("kinds")))]

    @cached_property
    def links(self) -> dict[int, bytes]:
        """For each hard link to what only a lower layer has, its path there."""
        found: dict[str, str] = json.loads(bytes(self._bytes("links"))) if self.place.facts & LINKED else {}
        return {int(entry): path.encode("latin-1") for entry, path in found.items()}

    @cached_property
    def marked(self) -> set[int]:
        """The directories that have whiteouts in them."""
        if not self.place.facts & UNSEEN:
            return set()
        return {self.parents[entry] for entry in self.of_kinds(lambda kind: bool(kind.flags & UNSEEN))}

    def of_kinds(self, is_wanted: Callable[[Kind], bool]) -> Iterator[int]:
        """The entries of some kinds, sorted."""
        wanted = [number for number, kind in enumerate(self.kinds) if is_wanted(kind)]
        if self.place.width > 1:
            numbers = set(wanted)
            return (entry for entry, number in enumerate(self.kind_numbers) if number in numbers)
        if not wanted:
            return iter(())
        matcher = re.compile(b"[%b]" % b"".join(b"\\x%02x" % number for number in wanted))
        # in place of the numbers their bytes, in which a class of characters is found fast
        start, size = self._at["kind_numbers"]
        return (match.start() - start for match in matcher.finditer(self._buffer, start, start + size))

    def kind(self, entry: int) -> Kind:
        """What an entry is of."""
        return self.kinds[self.kind_numbers[entry]]

    def name(self, entry: int) -> bytes:
        """An entry's name in its directory; empty for the root."""
        start = self.ends[entry - 1] + 1 if entry else 0
        return bytes(self.names[start : self.ends[entry]])

    def path(self, entry: int) -> bytes:
        """An entry's path from the root, without a slash before it; empty for the root."""
        directory = self.parents[entry]
        if directory != self._last[0]:
            way, at = [], directory
            while at not in self._paths:
                way.append(at)
                if self.parents[at] >= at:
                    raise Corrupt("index of layers: a directory that is in itself")
                at = self.parents[at]
            path = self._paths[at]
            while way:
                at = way.pop()
                path += self.name(at) + b"/"
                if len(way) % _EVERY == _EVERY - 1:
                    self._remember(at, path)
            self._last = directory, path
        return self._last[1] + self.name(entry)

    def _remember(self, directory: int, path: bytes) -> None:
        if len(self._paths) > _MOST_PATHS:
            self._paths = {0: b""}
        self._paths[directory] = path

    def children(self, entry: int) -> range:
        """The entries in a directory; none in anything else."""
        first = bisect_left(self.parents, entry, 1)
        return range(first, bisect_right(self.parents, entry, first))

    def names_in(self, directory: int) -> list[bytes]:
        """The names of the entries in a directory, sorted."""
        children = self.children(directory)
        if not children:
            return []
        start, end = self.ends[children.start - 1] + 1, self.ends[children.stop - 1]
        return bytes(self.names[start:end]).split(b"\0")

    def lookup(self, directory: int, name: bytes) -> int | None:
        """The entry called `name` in a directory."""
        children = self.children(directory)
        if not children:
            return None
        base = self.place.names
        start, end = base + self.ends[children.start - 1], base + self.ends[children.stop - 1] + 1
        if end - start <= _SCANNED:
            at = self._buffer.find(b"\0%b\0" % name, start, end)
            return None if at < 0 else bisect_right(self.ends, at - base, children.start - 1, children.stop)
        number = bisect_left(children, name, key=self.name)
        if number < len(children) and self.name(children[number]) == name:
            return children[number]
        return None

    def named(self, text: bytes) -> Iterator[int]:
        """The entries whose names have a text, in which NUL stands for the beginning of a name, sorted."""
        start, skip = self.place.names, text.startswith(b"\0")
        end = start + self.place.names_size
        at = self._buffer.find(text, start, end)
        while at >= 0:
            entry = bisect_left(self.ends, at + skip - start)
            yield entry
            # behind this name, but not its NUL, which may begin the next one
            at = self._buffer.find(text, max(start + self.ends[entry], at + 1), end)

    def named_folded(self, text: bytes) -> Iterator[int]:
        """The same among the entries with capital letters in their names, as these are in small letters."""
        names, skip = bytes(self._bytes("folded_names")), text.startswith(b"\0")
        number, counted = -1, 0
        at = names.find(text)
        while at >= 0:
            number += names.count(b"\0", counted, at + skip)
            counted = at + skip
            yield self.capitals[number]
            at = names.find(text, max(names.find(b"\0", counted), at + 1))

    def target(self, entry: int) -> bytes:
        """Where a symbolic link leads."""
        number = bisect_left(self.symlinks, entry)
        start = self.target_ends[number - 1] if number else 0
        return bytes(self._bytes("targets")[start : self.target_ends[number]])

    def digest(self, entry: int) -> bytes | None:
        """The digest of an entry's content, None where it has none or that is not known."""
        number = bisect_left(self.digest_entries, entry)
        if number == len(self.digest_entries) or self.digest_entries[number] != entry:
            return None
        return bytes(self.digests[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE])

    def whole_block(self) -> memoryview:
        """All columns as they lie in the segment, for another one."""
        return self._data[self.place.block : self.place.block + self.place.block_size]

    def _bytes(self, name: str) -> memoryview:
        start, size = self._at[name]
        return self._data[start : start + size]

    def _column(self, name: str, form: str) -> Sequence[int]:
        data = self._bytes(name)
        if sys.byteorder == "little":
            return data.cast(form)  # type: ignore[call-overload,no-any-return]  # one of several literals
        return struct.unpack(f"<{len(data) // struct.calcsize(form)}{form}", data)
