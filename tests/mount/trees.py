"""Small trees of plain nodes to serve."""

from collections.abc import Iterator, Mapping

from imgfs.blob import Blob, MemoryBlob
from imgfs.view import Directory, File, Node, NodeTable, Symlink


class Folder(Directory):
    """A directory of what it is given; its key is its path."""

    def __init__(self, key: str, children: Mapping[bytes, Node], *, mutable: bool = False) -> None:
        self.key = key
        self.mutable = mutable
        self.children = dict(children)

    def lookup(self, name: bytes) -> Node | None:
        return self.children.get(name)

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        yield from self.children.items()


class Text(File):
    """A file of bytes, whose size is known at once, or after `find_size`."""

    def __init__(self, key: str, content: bytes, *, known: bool = True) -> None:
        self.key = key
        self.content = content
        self.known = known

    @property
    def known_size(self) -> int | None:
        return len(self.content) if self.known else None

    def find_size(self) -> int:
        self.known = True
        return len(self.content)

    def open(self) -> Blob:
        return MemoryBlob(self.content)


class Failing(File):
    """A file that cannot be opened or measured: `error` says why."""

    known_size = None

    def __init__(self, key: str, error: Exception) -> None:
        self.key = key
        self._error = error

    def find_size(self) -> int:
        raise self._error

    def open(self) -> Blob:
        raise self._error


class Link(Symlink):
    """A symbolic link."""

    def __init__(self, key: str, target: bytes, *, mutable: bool = False) -> None:
        self.key = key
        self.target = target
        self.mutable = mutable


def wide(count: int, key: str = "/wide") -> Folder:
    """A directory of so many small files, each holding its own name."""
    names = [b"file-%06d" % number for number in range(count)]
    return Folder(key, {name: Text(f"{key}/{name.decode()}", name) for name in names})


class Table(NodeTable):
    """A table of a directory and `count` - 1 files in it; counts how often it was loaded."""

    def __init__(self, key: str, count: int) -> None:
        self.key = key
        self.nodes: list[Node] = []
        self.loads = 0
        self._count = count

    def node(self, number: int) -> Node | None:
        return self.nodes[number] if number < len(self.nodes) else None

    def load(self) -> None:
        self.loads += 1
        files = [Text(f"{self.key}/{number}", b"%d" % number) for number in range(1, self._count)]
        top = Folder(self.key, {b"%d" % number: file for number, file in enumerate(files, 1)})
        self.nodes = [top, *files]
        for number, node in enumerate(self.nodes):
            node.table, node.number = self, number

    def top(self) -> Directory:
        top = self.nodes[0] if self.nodes else Folder(self.key, {})
        top.table = self
        assert isinstance(top, Directory)
        return top
