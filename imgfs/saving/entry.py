"""The files of an archive of images, and writing them as a tar or into a directory.

What is written depends on the images and their names alone: equal input gives equal bytes.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from imgfs.blob import blob_chunks
from imgfs.digest import DiffID
from imgfs.errors import Corrupt, InvalidImage
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
    """A file with the tar of one layer in it. Blocks until the layer's size is known; raises what reading it raises.

    Its bytes are compared with the diff ID as they are written: Corrupt is raised at the end if they are not its.
    """
    diff_id = layers.diff_ids[number]
    with layers.open_one(number) as tar:
        size = tar.size

    def chunks() -> Iterator[bytes]:
        found = hashlib.new(diff_id.algorithm)
        with layers.open_one(number) as opened:
            for chunk in blob_chunks(opened):
                found.update(chunk)
                yield chunk
        if DiffID(f"{diff_id.algorithm}:{found.hexdigest()}") != diff_id:
            raise Corrupt(
                f"layer {diff_id}: failed to verify, its bytes are {diff_id.algorithm}:{found.hexdigest()}"
            )

    return Entry(name, size, chunks)


def write_tar(entries: Iterable[Entry], file: BinaryIO, advance: Callable[[int], None]) -> None:
    """Write a tar of some files, all of root and of 1970; `advance` is called with numbers of bytes written.

    Format: POSIX.1-1988 ustar, pax headers where a file is too large for it. Raises OSError, and what reading the
    entries raises.
    """
    written = 0

    def write(data: bytes) -> None:
        nonlocal written
        file.write(data)
        written += len(data)

    for entry in entries:
        write(member_header(entry.name.encode(), REGULAR, entry.size, 0o644, (0, 0), 0))
        for chunk in _whole(entry):
            write(chunk)
            advance(len(chunk))
        write(bytes(padded(entry.size) - entry.size))
    write(_END)
    write(bytes(-written % _RECORD))


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
