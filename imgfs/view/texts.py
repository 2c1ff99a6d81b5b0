"""Small files whose content is at hand: configs, parents."""

from imgfs.blob import Blob, MemoryBlob
from imgfs.view.node import File


class TextFile(File):
    """A file of bytes in memory."""

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
