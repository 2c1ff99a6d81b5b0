"""The three kinds of node that a mounted tree is made of.

Nodes know what they show and nothing of FUSE. They are cheap, made when somebody looks, and two nodes with
the same `key` are the same file: the key becomes the inode number.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from imgfs.blob import Blob


class Node(ABC):
    """What every node has.

    `key` names the node within its tree, for good. `mtime_ns` is its modification time in nanoseconds since
    the epoch. `mutable` says whether what the node answers may change while the tree is mounted.
    """

    key: str
    mtime_ns: int = 0
    mutable: bool = False


class Directory(Node):
    """Names, each with a node."""

    @abstractmethod
    def lookup(self, name: bytes) -> Node | None:
        """The node called `name`, which need not be listed; None if there is none. Must not block for long."""

    @abstractmethod
    def entries(self) -> Iterator[tuple[bytes, Node]]:
        """Every listed name with its node, in a stable order, without `.` and `..`."""


class File(Node):
    """Immutable content."""

    @property
    @abstractmethod
    def known_size(self) -> int | None:
        """The exact size in bytes if it is known without work, else None. Never blocks."""

    @abstractmethod
    def find_size(self) -> int:
        """The exact size, however long it takes to find out. Raises ImgfsError or OSError."""

    @abstractmethod
    def open(self) -> Blob:
        """The content; the caller closes it. Raises ImgfsError or OSError."""


class Symlink(Node):
    """A symbolic link; `target` is relative to the directory that holds it."""

    target: bytes
