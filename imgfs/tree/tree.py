"""A file system tree of any size, held in columns: about 80 bytes and a name for an entry.

Entries are numbers. Knows nothing of how trees are made (`build`, `overlay`) or where bytes come from.
"""

import stat
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise

from imgfs.tar.fields import possible_owner, possible_time

NO_LAYER = 0xFFFFFFFF
"""In place of a layer's number: a directory that no layer has a member for, only members below it."""

OTHER_NAME, PLAIN_NAME, DOTTED_NAME, LITERAL_NAME = range(4)

_EVERY = 64  # so many directories on the way to one that is asked for, one is remembered
_MAX_REMEMBERED = 16 << 20  # bytes of paths

Sparse = list[tuple[int, int]]


class Columns:
    """What members say of files, each column with a value for every file.

    `modes` are as in st_mode, type included. `sizes` in bytes; for a symbolic link that of its target. `mtimes` in
    nanoseconds since the epoch. `layers` are numbered from 0, the bottom, or NO_LAYER. `records` and `headers`: where
    the entry's member begins in its layer's tar, and how many bytes of headers come before its data; of one in
    `Tree.copies`, places in that copy. `forms` says whether those headers, as they stand, say of this very entry what
    it is: OTHER_NAME where they do not, PLAIN_NAME where they do by its path, DOTTED_NAME where with `./` before that;
    LITERAL_NAME where they do not, and the entry is no whiteout whatever its name is.
    """

    def __init__(self) -> None:
        self.modes = array("I")
        self.uids = array("I")
        self.gids = array("I")
        self.sizes = array("Q")
        self.mtimes = array("q")
        self.layers = array("I")
        self.records = array("Q")
        self.headers = array("Q")
        self.forms = bytearray()
        self.xattrs: dict[int, dict[bytes, bytes]] = {}
        self.devices: dict[int, tuple[int, int]] = {}
        """Major and minor number of every device node."""
        self.sparse: dict[int, Sparse] = {}
        """The parts of a sparse file that its data holds, as in `Member`."""


class Tree(Columns):
    """Entries numbered from 0, the root, so that the children of a directory follow each other, sorted by name.

    Each column has a value for every entry. Names of one file are several entries: `inode` returns the same number for
    all of them, that of the first, whose values stand for all. `links` are as in st_nlink.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parents = array("I")
        self.links = array("I")
        self.same: dict[int, int] = {}
        """For a further name of a file, the entry that is its first."""
        self.lower_links: dict[int, bytes] = {}
        """In a single layer's tree, the paths that hard links lead to which the layer itself does not have.

        They stand there as symbolic links, relative to where they are."""
        self.copies: dict[int, str] = {}
        """The layers whose `records` are not offsets in their tar, but known to one copy of the layer alone: which."""
        self.damaged: dict[int, str] = {}
        """The layers not all of whose members could be read, and why: what follows is missing here."""
        # all names end to end, and where each ends; all targets of symbolic links
        self.names_text = bytearray()
        self.name_ends = array("Q")
        self.targets_text = bytearray()
        # the first child of a directory, or where a symbolic link's target begins; how many children
        self.firsts = array("Q")
        self.counts = array("I")

    def __len__(self) -> int:
        return len(self.modes)

    def is_directory(self, entry: int) -> bool:
        """Whether an entry can have children."""
        return stat.S_ISDIR(self.modes[entry])

    def inode(self, entry: int) -> int:
        """The entry that stands for the file that an entry is a name of."""
        return self.same.get(entry, entry)

    def name(self, entry: int) -> bytes:
        """An entry's name in its directory; empty for the root."""
        start = self.name_ends[entry - 1] if entry else 0
        return bytes(self.names_text[start : self.name_ends[entry]])

    def path(self, entry: int) -> bytes:
        """An entry's path from the root, without a slash before it; empty for the root."""
        parts = []
        while entry:
            parts.append(self.name(entry))
            entry = self.parents[entry]
        return b"/".join(reversed(parts))

    def children(self, entry: int) -> range:
        """The entries in a directory; none in anything else."""
        if not self.is_directory(entry):
            return range(0)
        first = self.firsts[entry]
        return range(first, first + self.counts[entry])

    def names(self, entries: range) -> list[bytes]:
        """The names of entries that follow each other, the root not among them."""
        if not entries:
            return []
        ends = self.name_ends[entries.start - 1 : entries.stop]
        base = ends[0]
        text = bytes(self.names_text[base : ends[-1]])
        return [text[start - base : end - base] for start, end in pairwise(ends)]

    def lookup(self, directory: int, name: bytes) -> int | None:
        """The entry called `name` in a directory."""
        children = self.children(directory)
        place = bisect_left(children, name, key=self.name)
        if place < len(children) and self.name(children[place]) == name:
            return children[place]
        return None

    def target(self, entry: int) -> bytes:
        """What a symbolic link leads to."""
        first = self.firsts[entry]
        return bytes(self.targets_text[first : first + self.sizes[entry]])

    def target_inside(self, entry: int) -> bytes:
        """The same, but relative if it is absolute, so that it leads to the same path below the root.

        What has several names may be at several depths, and has one target: that is as it is.
        """
        target = self.target(entry)
        if not target.startswith(b"/") or self.links[entry] > 1:
            return target
        directory, up = self.parents[entry], 0
        while directory:
            directory, up = self.parents[directory], up + 1
        return b"../" * up + target.lstrip(b"/") or b"."

    def stored_size(self, entry: int) -> int:
        """How many bytes of data a regular file's member has: fewer than the file has if that is sparse."""
        parts = self.sparse.get(entry)
        return self.sizes[entry] if parts is None else sum(length for _, length in parts)

    def walk(self) -> Iterator[int]:
        """Every entry but the root, each directory before what is in it, in the order of their paths' components."""
        waiting = [iter(self.children(0))]
        while waiting:
            for entry in waiting[-1]:
                yield entry
                if self.is_directory(entry):
                    waiting.append(iter(self.children(entry)))
                    break
            else:
                waiting.pop()

    def append(
        self,
        parent: int,
        name: bytes,
        mode: int,
        owner: tuple[int, int],
        size: int,
        mtime_ns: int,
        place: tuple[int, int, int],
        target: bytes = b"",
        *,
        form: int = OTHER_NAME,
    ) -> int:
        """Add the next entry, whose siblings come right before and after it; returns its number.

        `place` is its layer, record and header length. Values that do not fit a column become the nearest that does.
        """
        entry = len(self.modes)
        self.names_text += name
        self.name_ends.append(len(self.names_text))
        self.firsts.append(len(self.targets_text))
        self.targets_text += target
        self.counts.append(0)
        self.parents.append(parent)
        self.modes.append(mode)
        self.uids.append(possible_owner(owner[0]))
        self.gids.append(possible_owner(owner[1]))
        self.links.append(1)
        self.sizes.append(size)
        self.mtimes.append(possible_time(mtime_ns))
        layer, record, header = place
        self.layers.append(layer)
        self.records.append(record)
        self.headers.append(header)
        self.forms.append(form)
        return entry

    def set_children(self, directory: int, first: int, count: int) -> None:
        """Say which entries are the children of a directory."""
        self.firsts[directory] = first
        self.counts[directory] = count


class Paths:
    """The paths of a tree's entries, as `Tree.path` returns them.

    Those of directories are remembered, so that many deep ones take no longer than their bytes do.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._known = {0: b""}  # with a slash behind each
        self._bytes = 0

    def of(self, entry: int) -> bytes:
        """An entry's path from the root, without a slash before it; empty for the root."""
        return self._directory(self._tree.parents[entry]) + self._tree.name(entry)

    def _directory(self, entry: int) -> bytes:
        way = list[int]()
        while (path := self._known.get(entry)) is None:
            way.append(entry)
            entry = self._tree.parents[entry]
        while way:
            entry = way.pop()
            path += self._tree.name(entry) + b"/"
            if len(way) % _EVERY == 0:
                self._remember(entry, path)
        return path

    def _remember(self, entry: int, path: bytes) -> None:
        self._bytes += len(path)
        if self._bytes > _MAX_REMEMBERED:
            self._known = {0: b""}
            self._bytes = len(path)
        self._known[entry] = path
