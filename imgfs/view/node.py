"""The kinds of node that a mounted tree is made of, tried by the tests of each that shows something.

Nodes know what they show and nothing of FUSE. They are cheap, made for each look-up, and two nodes with
the same `key`, or the same place in a table of the same key, are the same file: from that comes the inode number.
"""

import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from imgfs.blob import Blob

_NOTHING: Mapping[bytes, bytes] = {}


class Origin(Protocol):
    """A source as far as nodes go: one that hangs must not stop work on another."""

    def report_lost(self, why: str) -> None:
        """Log why nothing can be read there any more, unless that was done."""


class Labelled:
    """What is known by a key, and read from some sources."""

    key: str = ""

    @property
    def origins(self) -> tuple[Origin, ...]:
        """What reading it may have to wait for, nothing where all is in memory."""
        return ()

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return self.key


class Node(Labelled, ABC):
    """What every node has.

    `key` names the node within its tree, for good; a node of a `table` is named by that and its `number` instead.
    `mtime_ns` is its modification time in nanoseconds since the epoch; `mode`, `links` and `device` are as in stat(2),
    `uid` and `gid` too, None for the user who mounts. `mutable` says whether its attributes or content may change while
    the tree is mounted, `name_may_change` whether the name that it was looked up by may lead to another node then.

    Nothing here blocks or touches a file, but for those methods of `File` and `NodeTable` that say so.
    """

    table: "NodeTable | None" = None
    number: int = 0
    mtime_ns: int = 0
    mode: int
    uid: int | None = None
    gid: int | None = None
    links: int = 1
    device: int = 0
    mutable: bool = False
    name_may_change: bool = False

    @property
    def xattrs(self) -> Mapping[bytes, bytes]:
        """Extended attributes by name."""
        return _NOTHING


class NodeTable(Labelled, ABC):
    """Very many nodes that are numbered from 0, the directory that holds the others, and made when they are wanted.

    With `links_inside`, absolute symbolic links are shown as relative ones that lead to the same path below the top.
    """

    links_inside: bool = False

    @property
    def place(self) -> str | None:
        """Where in the mount its directory always is, such as `/images/X`, if a file system can be mounted there."""
        return None

    def erofs_files(self) -> Sequence["File"]:
        """An EROFS image that shows the same: its metadata, then the files that this refers to as devices.

        Their keys end with different names. May block. Raises ImgfsError or OSError.
        """
        raise NotImplementedError

    @abstractmethod
    def node(self, number: int) -> Node | None:
        """A node; None while the table is not loaded, which it may cease to be at any time."""

    def lacks_xattrs(self, number: int) -> bool:
        """Whether it is known, without making it, that a node has no extended attributes. Raises nothing."""
        return False

    @abstractmethod
    def load(self) -> None:
        """Make the nodes available; may block. Raises ImgfsError or OSError."""

    @abstractmethod
    def top(self) -> "Directory":
        """The node numbered 0, or until the table is loaded one that stands for it."""


class Directory(Node):
    """Names, each with a node. Names may come and go; see `RootDirectory.vanished` for those that go."""

    mode = stat.S_IFDIR | 0o555

    @abstractmethod
    def lookup(self, name: bytes) -> Node | None:
        """The node called `name`, which need not be listed; None if there is none."""

    @abstractmethod
    def entries(self) -> Iterator[tuple[bytes, Node]]:
        """Every listed name with its node, in a stable order, without `.` and `..`."""


class WaitingDirectory(Directory):
    """A directory whose names have to be found first. What was found is looked up and listed without blocking."""

    @abstractmethod
    def find(self, name: bytes | None) -> None:
        """Find what is called `name`, or with None all names; may block, for as long as reading everything takes.

        Raises ImgfsError or OSError.
        """


class FixedDirectory(Directory):
    """A directory of names that are known beforehand; `makers` makes the node of each, or None while it has none."""

    makers: Mapping[bytes, Callable[[], Node | None]]

    def lookup(self, name: bytes) -> Node | None:
        make = self.makers.get(name)
        return make() if make else None

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        for name, make in self.makers.items():
            node = make()
            if node is not None:
                yield name, node


Listed = tuple[bytes, int, int, int, int, int, int, int, int]
"""An entry of a table as a directory lists it: name, number, mode, links, uid, gid, device, size, mtime_ns."""


class TableDirectory(Directory):
    """A directory of which every entry is a node of its own table, and none ever changes."""

    table: NodeTable

    @property
    @abstractmethod
    def parent(self) -> int:
        """The number of the directory it is in; its own at the top."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many entries it has."""

    @abstractmethod
    def listed(self, start: int, stop: int) -> Iterable[Listed]:
        """The same as `entries` from one position to before another, or the end, without making nodes."""


class File(Node):
    """Immutable content."""

    mode = stat.S_IFREG | 0o444

    @property
    @abstractmethod
    def known_size(self) -> int | None:
        """The exact size in bytes if it is in memory, else None."""

    def look_for_size(self) -> int | None:
        """The exact size if it is recorded somewhere, else None; may block, but reads no content to find out."""
        return self.known_size

    def find_size(self) -> int:
        """The exact size; may block for as long as reading everything takes. Raises ImgfsError or OSError."""
        with self.open() as blob:
            return blob.size

    @abstractmethod
    def open(self) -> Blob:
        """The content; the caller closes it. May block. Raises ImgfsError or OSError."""

    def try_open(self) -> Blob | None:
        """Open as `open` does if that cannot block, else return None without having done anything."""
        return None


class Symlink(Node):
    """A symbolic link; `target` is relative to the directory that holds it, or is absolute."""

    mode = stat.S_IFLNK | 0o777
    target: bytes


class Special(Node):
    """A device node or a pipe: nothing to read here."""
