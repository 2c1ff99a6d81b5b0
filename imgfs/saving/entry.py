"""The files of an archive of images, and writing them as a tar or into a directory.

What is written depends on the images and their names alone: equal input gives equal bytes.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from imgfs.blob import Blob, Concatenation, LateBlob, MemoryBlob, blob_chunks
from imgfs.errors import Corrupt, InvalidImage
from imgfs.sources.reference import full_name
from imgfs.tar.fields import BLOCK, padded
from imgfs.tar.headers import member_header
from imgfs.tar.member import REGULAR

_END = bytes(2 * BLOCK)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of `size` bytes, which `open_blob` opens; its name has slashes where it lies in directories.

    Of kind DIRECTORY it is a directory.
    """

    name: str
    size: int
    open_blob: Callable[[], Blob]
    mode: int = 0o644
    kind: bytes = REGULAR

    @property
    def header(self) -> bytes:
        """What stands before it in a tar: it is of root and of 1970."""
        return member_header(self.name.encode(), self.kind, self.size, self.mode, (0, 0), 0)

    @property
    def padding(self) -> bytes:
        """What stands behind it in a tar."""
        return bytes(padded(self.size) - self.size)

    def chunks(self) -> Iterator[bytes]:
        """Its bytes in order. Raises Corrupt if they are not `size`, and what reading them raises."""
        left = self.size
        with self.open_blob() as blob:
            for chunk in blob_chunks(blob):
                left -= len(chunk)
                yield chunk
        if left:
            raise Corrupt(f"{self.name}: {self.size - left} bytes where {self.size} were expected")


def loadable_name(name: str) -> str | None:
    """A name with its tag, as engines take it, None for one that they do not take: they would refuse all images."""
    try:
        return full_name(name)
    except InvalidImage:
        return None


def data_entry(name: str, data: bytes, mode: int = 0o644) -> Entry:
    """A file with `data` in it."""
    return Entry(name, len(data), lambda: MemoryBlob(data), mode)


def json_entry(name: str, content: object) -> Entry:
    """A file with a JSON document in it."""
    return data_entry(name, encode_json(content))


def encode_json(content: object) -> bytes:
    """JSON without spaces, its keys in the order given."""
    return json.dumps(content, separators=(",", ":")).encode()


class TarWriter:
    """Writes a tar of files to `file`.

    Format: POSIX.1-1988 ustar, pax headers where a file is too large for it. Methods raise OSError, and what reading
    the entries raises.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, entry: Entry, advance: Callable[[int], None] = lambda _: None) -> None:
        """Write a file; `advance` is called with numbers of bytes written."""
        self._file.write(entry.header)
        for chunk in entry.chunks():
            self._file.write(chunk)
            advance(len(chunk))
        self._file.write(entry.padding)

    def finish(self) -> None:
        """Write the end."""
        self._file.write(_END)


def write_tar(entries: Iterable[Entry], file: BinaryIO, advance: Callable[[int], None]) -> None:
    """Write a tar of some files, as a `TarWriter` does."""
    tar = TarWriter(file)
    for entry in entries:
        tar.add(entry, advance)
    tar.finish()


def tar_blob(entries: Iterable[Entry]) -> Blob:
    """The bytes that `write_tar` writes, as they are read; files are opened when they are reached."""
    parts: list[Blob] = []
    between = b""
    for entry in entries:
        between += entry.header
        if entry.size:
            parts += [MemoryBlob(between), LateBlob(entry.name, entry.size, entry.open_blob)]
            between = entry.padding
    return Concatenation([*parts, MemoryBlob(between + _END)])


def write_directory(entries: Iterable[Entry], folder: str, advance: Callable[[int], None]) -> None:
    """Write some files into the directory `folder`, which is made; `advance` is called as by `write_tar`.

    Raises FileExistsError if there is one already, OSError, and what reading the entries raises.
    """
    os.mkdir(folder)
    for entry in entries:
        path = os.path.join(folder, entry.name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            for chunk in entry.chunks():
                file.write(chunk)
                advance(len(chunk))
