"""Small files whose content is in memory: configs, parents, tables."""

from collections.abc import Callable

from imgfs.blob import Blob, MemoryBlob
from imgfs.view.node import File


class TextFile(File):
    """A file of bytes in memory, the same for good."""

    def __init__(self, key: str, content: bytes, mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._content = content

    @property
    def known_size(self) -> int:
        return len(self._content)

    def find_size(self) -> int:
        return len(self._content)

    def open(self) -> Blob:
        return MemoryBlob(self._content)

    def try_open(self) -> Blob:
        return self.open()


class LiveText(File):
    """A file that says how things are when it is opened: what `make` returns then, without blocking."""

    mutable = True

    def __init__(self, key: str, make: Callable[[], bytes], mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._make = make

    @property
    def known_size(self) -> int:
        return len(self._make())

    def find_size(self) -> int:
        return self.known_size

    def open(self) -> Blob:
        return MemoryBlob(self._make())

    def try_open(self) -> Blob | None:
        return self.open()
