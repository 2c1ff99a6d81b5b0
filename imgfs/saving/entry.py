"""The files of an archive of images, and writing them as a tar or into a directory.

What is written depends on the images and their names alone: equal input gives equal bytes.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from imgfs.errors import Corrupt, InvalidImage
from imgfs.saving.piece import layer_piece
from imgfs.sources.reference import full_name
from imgfs.store import Image, LayerStack
from imgfs.tar.fields import BLOCK, padded
from imgfs.tar.headers import member_header
from imgfs.tar.member import REGULAR

_END = bytes(2 * BLOCK)
_RECORD = 20 * BLOCK  # tar(1) fills the last record, of this size, with zeros


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image to be saved under `names`, such as `app:1`, of which there may be none; `layers` are its layers."""

    image: Image
    names: list[str]
    layers: LayerStack


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of `size` bytes, which `chunks` yields; its name has slashes where it lies in directories."""

    name: str
    size: int
    chunks: Callable[[], Iterator[bytes]]


def loadable_name(name: str) -> str | None:
    """A name with its tag, as engines take it, None for one that they do not take: they would refuse all images."""
    try:
        return full_name(name)
    except InvalidImage:
        return None


def data_entry(name: str, data: bytes) -> Entry:
    """A file with `data` in it."""
    return Entry(name, len(data), lambda: iter((data,)))


def json_entry(name: str, content: object) -> Entry:
    """A file with a JSON document in it."""
    return data_entry(name, encode_json(content))


def encode_json(content: object) -> bytes:
    """JSON without spaces, its keys in the order given."""
    return json.dumps(content, separators=(",", ":")).encode()


def layer_entry(name: str, layers: LayerStack, number: int) -> Entry:
    """A file with the tar of one layer in it. Raises as `layer_piece` does."""
    piece = layer_piece(layers, number)
    return Entry(name, piece.size, piece.chunks)


class TarWriter:
    """Writes a tar of files to `file`, all of root and of 1970.

    Format: POSIX.1-1988 ustar, pax headers where a file is too large for it. Methods raise OSError, and what reading
    the entries raises.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._written = 0

    def add(self, entry: Entry, advance: Callable[[int], None] = lambda _: None) -> None:
        """Write a file; `advance` is called with numbers of bytes written."""
        self._write(member_header(entry.name.encode(), REGULAR, entry.size, 0o644, (0, 0), 0))
        for chunk in _whole(entry):
            self._write(chunk)
            advance(len(chunk))
        self._write(bytes(padded(entry.size) - entry.size))

    def finish(self) -> None:
        """Write the end."""
        self._write(_END)
        self._write(bytes(-self._written % _RECORD))

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._written += len(data)


def write_tar(entries: Iterable[Entry], file: BinaryIO, advance: Callable[[int], None]) -> None:
    """Write a tar of some files, as a `TarWriter` does."""
    tar = TarWriter(file)
    for entry in entries:
        tar.add(entry, advance)
    tar.finish()


def write_directory(entries: Iterable[Entry], folder: str, advance: Callable[[int], None]) -> None:
    """Write some files into the directory `folder`, which is made; `advance` is called as by `write_tar`.

    Raises FileExistsError if there is one already, OSError, and what reading the entries raises.
    """
    os.mkdir(folder)
    for entry in entries:
        path = os.path.join(folder, entry.name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            for chunk in _whole(entry):
                file.write(chunk)
                advance(len(chunk))


def _whole(entry: Entry) -> Iterator[bytes]:
    left = entry.size
    for chunk in entry.chunks():
        left -= len(chunk)
        yield chunk
    if left:
        raise Corrupt(f"{entry.name}: {entry.size - left} bytes where {entry.size} were expected")
