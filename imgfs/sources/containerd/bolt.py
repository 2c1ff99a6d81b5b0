"""Reading a bolt database, such as containerd's, while its owner writes to it.

Format: bbolt, page.go, meta.go, bucket.go; numbers are in the byte order of the machine that wrote them. A
database is a file of pages. The first two each describe a state of it, the higher transaction ID being the
newer; the rest make trees of branch and leaf pages, one for each bucket that is not small enough to lie inside
a leaf. A transaction writes to unused pages only and overwrites the older description last, so the pages of a
state stay as they are until the transaction after the next one. So no lock is taken: what was read while the
newest transaction stayed the same is of one state, and anything else is read again.
"""

import os
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from imgfs.blob import FileBlob
from imgfs.errors import Corrupt, ImgfsError, InUse

T = TypeVar("T")

_MAGIC, _VERSION = 0xED0CDAED, 2
_META, _BRANCH, _LEAF = 0x04, 0x01, 0x02  # flags of a page
_BUCKET = 0x01  # flag of an entry in a leaf
_PAGE = struct.Struct("=QHHI")  # its number, flags, number of entries, number of pages it runs on for
_DESCRIPTION = struct.Struct("=IIII QQ QQQ Q")
_BRANCH_ENTRY = struct.Struct("=IIQ")  # where the key lies from here, its size, page
_LEAF_ENTRY = struct.Struct("=IIII")  # flags, where the key lies from here, its size, the value's size
_BUCKET_HEADER = struct.Struct("=QQ")  # root page, sequence

_PAGE_SIZES = tuple(1 << n for n in range(9, 17))
_MAX_DEPTH = 32  # of branches above a leaf; fan-out is at least two, so no real tree comes near
_SMALL = 16 << 20  # bytes
_MAX_READ = 256 << 20  # bytes of pages and entries read for one look
_ENTRY_COST = 256  # bytes that an entry takes here besides its content
_PATIENCE = 2.0  # seconds to try for a state that holds still


@dataclass(frozen=True, slots=True)
class State:
    """A database as one transaction left it: `pages` is how many there are, `root` the page of the topmost bucket."""

    page_size: int
    root: int
    pages: int
    transaction: int


def read_state(file: FileBlob) -> State:
    """The newest state of a database, which changes with every transaction. Raises Corrupt or OSError."""
    return _newest(file)


def read_bolt(open_file: Callable[[], FileBlob], look: Callable[["Bucket"], T]) -> T:
    """What `look` makes of the topmost bucket, all of it from one state of the database that `open_file` opens.

    `look` may be called several times. Raises what it raises, Corrupt if the database is damaged, InUse if
    it changes all the time, OSError if it cannot be read.
    """
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        with open_file() as file:
            state = _newest(file)
            size = state.pages * state.page_size
            # a small database is copied first, which takes no longer than a transaction does
            copy = os.pread(file.fileno(), size, 0) if size <= _SMALL else None
            if copy is not None and _newest(file) != state:
                continue
            try:
                result = look(Bucket(_Pages(file, copy, state), _BUCKET_HEADER.pack(state.root, 0)))
            except ImgfsError:
                if copy is not None or _newest(file) == state:
                    raise
                continue
            if copy is not None or _newest(file) == state:
                return result
    raise InUse(f"{file.path}: changes faster than it can be read")


class Bucket:
    """Values and further buckets by key, as long as the look lasts; read when first asked for.

    Every method raises Corrupt if the pages of the bucket are damaged.
    """

    def __init__(self, pages: "_Pages", header: bytes) -> None:
        self._pages = pages
        self._header = header
        self._entries: dict[bytes, tuple[int, bytes]] | None = None
        self._inside: dict[bytes, Bucket] = {}  # those asked for, as pages are read once

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None if there is none, or a bucket."""
        flags, value = self._all().get(key, (_BUCKET, b""))
        return None if flags & _BUCKET else value

    def bucket(self, *path: bytes) -> "Bucket | None":
        """The bucket inside this one that a path of keys leads to; None if there is none."""
        found: Bucket | None = self
        for key in path:
            found = found._child(key) if found is not None else None
        return found

    def buckets(self) -> "Iterator[tuple[bytes, Bucket]]":
        """The buckets inside this one, sorted by key."""
        for key in sorted(self._all()):
            inside = self._child(key)
            if inside is not None:
                yield key, inside

    def _child(self, key: bytes) -> "Bucket | None":
        if key not in self._inside:
            flags, value = self._all().get(key, (0, b""))
            if not flags & _BUCKET:
                return None
            self._inside[key] = Bucket(self._pages, value)
        return self._inside[key]

    def _all(self) -> dict[bytes, tuple[int, bytes]]:
        if self._entries is None:
            if len(self._header) < _BUCKET_HEADER.size:
                raise Corrupt(f"{self._pages.path}: a bucket is cut off")
            root, _ = _BUCKET_HEADER.unpack_from(self._header)
            if root:
                self._entries = dict(self._pages.entries(root))
            else:
                inside = self._header[_BUCKET_HEADER.size :]
                self._entries = dict(self._pages.leaf_entries(inside, "a bucket inside a leaf"))
        return self._entries


class _Pages:
    """The pages of one state, each of which belongs to one tree in one place."""

    def __init__(self, file: FileBlob, copy: bytes | None, state: State) -> None:
        self.path = file.path
        self._file = file
        self._copy = copy
        self._state = state
        self._seen: set[int] = set()
        self._budget = _MAX_READ

    def entries(self, root: int) -> Iterator[tuple[bytes, tuple[int, bytes]]]:
        """Key, flags and value of everything in the tree below a page."""
        waiting = [(root, 0)]
        while waiting:
            number, depth = waiting.pop()
            data = self._read(number)
            name = f"page {number}"
            _, flags, count, _ = _PAGE.unpack_from(data)
            if flags & _LEAF:
                yield from self.leaf_entries(data, name)
            elif flags & _BRANCH and depth < _MAX_DEPTH:
                if _PAGE.size + count * _BRANCH_ENTRY.size > len(data):
                    raise self._corrupt(name, "has more entries than fit in it")
                waiting += [
                    (_BRANCH_ENTRY.unpack_from(data, _PAGE.size + place * _BRANCH_ENTRY.size)[2], depth + 1)
                    for place in reversed(range(count))
                ]
            else:
                raise self._corrupt(name, f"is no part of a tree (flags {flags:#x}, {depth} pages down)")

    def leaf_entries(self, data: bytes, name: str) -> Iterator[tuple[bytes, tuple[int, bytes]]]:
        """Key, flags and value of everything in a leaf."""
        if len(data) < _PAGE.size:
            raise self._corrupt(name, "is cut off")
        _, flags, count, _ = _PAGE.unpack_from(data)
        if not flags & _LEAF or _PAGE.size + count * _LEAF_ENTRY.size > len(data):
            raise self._corrupt(name, "is no leaf, or has more entries than fit in it")
        for place in range(_PAGE.size, _PAGE.size + count * _LEAF_ENTRY.size, _LEAF_ENTRY.size):
            entry_flags, position, key_size, value_size = _LEAF_ENTRY.unpack_from(data, place)
            key = place + position
            value = key + key_size
            # entries may share bytes, so few can make many
            self._budget -= _ENTRY_COST + key_size + value_size
            if value + value_size > len(data) or self._budget < 0:
                raise self._corrupt(name, "has an entry that reaches beyond it")
            yield data[key:value], (entry_flags, data[value : value + value_size])

    def _read(self, number: int) -> bytes:
        """A page and those it runs on for."""
        size = self._state.page_size
        name = f"page {number}"
        if not 2 <= number < self._state.pages:
            raise self._corrupt(name, f"is not there (there are {self._state.pages})")
        if number in self._seen:
            raise self._corrupt(name, "is used twice")
        self._seen.add(number)
        data = self._pread(size, number * size)
        if len(data) < size:
            raise self._corrupt(name, "is cut off")
        own_number, _, _, more = _PAGE.unpack_from(data)
        if own_number != number:
            raise self._corrupt(name, f"says that it is page {own_number}")
        whole = (more + 1) * size
        self._budget -= whole
        if number + more >= self._state.pages or self._budget < 0:
            raise self._corrupt(name, f"is too large, {whole} bytes")
        if more:
            data += self._pread(whole - size, (number + 1) * size)
            if len(data) < whole:
                raise self._corrupt(name, "is cut off")
        return data

    def _pread(self, size: int, offset: int) -> bytes:
        if self._copy is not None:
            return self._copy[offset : offset + size]
        # not by way of the blob, which knows only the size that the file had when it was opened
        return os.pread(self._file.fileno(), size, offset)

    def _corrupt(self, page: str, why: str) -> Corrupt:
        return Corrupt(f"{self.path}: {page} {why}")


def _newest(file: FileBlob) -> State:
    """The newest state that is wholly written. Raises Corrupt."""
    states = [_state_at(file, 0)]
    # the second description lies one page on; if the first is damaged, any size of a page is tried
    sizes = _PAGE_SIZES if states[0] is None else (states[0].page_size,)
    states += [state for size in sizes if (state := _state_at(file, size)) and state.page_size == size]
    known = [state for state in states if state is not None]
    if not known:
        raise Corrupt(
            f"{file.path}: not a bolt database, or damaged: neither of its first two pages is valid"
        )
    return max(known, key=lambda state: state.transaction)


def _state_at(file: FileBlob, offset: int) -> State | None:
    data = os.pread(file.fileno(), _PAGE.size + _DESCRIPTION.size, offset)
    if len(data) < _PAGE.size + _DESCRIPTION.size:
        return None
    described = data[_PAGE.size :]
    magic, version, page_size, _, root, _, _, pages, transaction, checksum = _DESCRIPTION.unpack(described)
    is_sound = (magic, version) == (_MAGIC, _VERSION) and page_size in _PAGE_SIZES
    if not is_sound or not _PAGE.unpack_from(data)[1] & _META or _fnv1a(described[:-8]) != checksum:
        return None
    return State(page_size, root, pages, transaction)


def _fnv1a(data: bytes) -> int:
    """The 64-bit FNV-1a hash."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
