"""An EROFS image: its files, each with its metadata and the places of its content.

Nothing in an image is trusted: numbers are compared with its size before they are used, and metadata that lies in one
place is read once, so that going through all of it takes no longer than an image of its size can need.
"""

import stat
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from imgfs.blob import Blob
from imgfs.erofs.directory import parse_block
from imgfs.erofs.extents import Extent, extents
from imgfs.erofs.inode import LONGEST, SLOT, Inode, parse_inode
from imgfs.erofs.superblock import (
    DEVICE_SIZE,
    SUPERBLOCK,
    SUPERBLOCK_SIZE,
    parse_device,
    parse_superblock,
)
from imgfs.erofs.xattrs import (
    ENTRY_SIZE,
    LONGEST_PREFIX,
    Prefix,
    entry_size,
    parse_body,
    parse_entry,
    parse_prefixes,
    split_entries,
)
from imgfs.errors import Corrupt, quoted

_LONGEST_PATH = 4096  # bytes; deeper directories are not gone into
_MOST_METADATA = 512 << 20  # bytes, of an image that has more
_MOST_XATTRS = 5_000_000
_MOST_PIECES = 1_000_000  # that do not follow each other


class ErofsFile(NamedTuple):
    """A name in an image: `path` has no slash before it, and is empty for the root; `target` is a symbolic link's."""

    path: bytes
    inode: Inode
    xattrs: Mapping[bytes, bytes]
    target: bytes


class ErofsImage:
    """The image in `blob`, which stays open. Errors begin with `name`.

    Raises Corrupt if it is none, or damaged, or has a form that imgfs does not read, and what `blob.pread` raises.
    """

    def __init__(self, blob: Blob, name: str) -> None:
        self._blob = blob
        self._name = name
        self._left = min(blob.size, _MOST_METADATA)
        self._entries_left = _MOST_XATTRS
        self._pieces = _MOST_PIECES
        try:
            self._superblock = superblock = parse_superblock(blob.pread(SUPERBLOCK_SIZE, SUPERBLOCK))
            table = self._read(superblock.device_table, DEVICE_SIZE * superblock.device_count)
            self._devices = [
                parse_device(table[start : start + DEVICE_SIZE], has_48bit=superblock.has_48bit)
                for start in range(0, len(table), DEVICE_SIZE)
            ]
            self._prefixes = self._long_prefixes()
        except Corrupt as error:
            raise Corrupt(f"{name}: {error}") from None

    @property
    def appended(self) -> int | None:
        """Where the only other device begins if it lies behind the image in the same file, else None."""
        start = self._devices[0] * self._superblock.block_size if len(self._devices) == 1 else 0
        return start if 0 < start < self._blob.size else None

    def files(self) -> Iterator[ErofsFile]:
        """Each name: a directory, then the other files in it, then each directory in it in the same way."""
        known, linked = set[int](), set[int]()  # directories, and files that may have several names
        waiting = [(b"", self._superblock.root)]
        path = b""
        try:
            while waiting:
                path, number = waiting.pop()
                inode = self._inode(number)
                if not stat.S_ISDIR(inode.st_mode):
                    raise Corrupt("the root is no directory")
                if number in known:
                    raise Corrupt("a directory with two names")
                known.add(number)
                yield ErofsFile(path, inode, self._xattrs(inode), b"")
                if len(path) > _LONGEST_PATH:
                    continue
                prefix = path + b"/" if path else b""
                for name, inner in self._entries(inode):
                    path = prefix + name
                    found = self._inode(inner)
                    if stat.S_ISDIR(found.st_mode):
                        waiting.append((path, inner))
                        continue
                    left = self._left
                    yield ErofsFile(path, found, self._xattrs(found), self._target(found))
                    if inner in linked:
                        self._left = left  # that was counted under another name
                    elif found.st_nlink > 1:
                        linked.add(inner)
        except Corrupt as error:
            raise Corrupt(f"{self._name}: {quoted(path) if path else 'its root'}: {error}") from None

    def extents(self, inode: Inode, path: bytes) -> list[Extent]:
        """Where the content of the file at a path lies, in order of its offsets; what is between is zeros."""
        try:
            return self._extents(inode)
        except Corrupt as error:
            raise Corrupt(f"{self._name}: {quoted(path)}: {error}") from None

    def _inode(self, number: int) -> Inode:
        address = self._superblock.metadata + number * SLOT
        data = self._blob.pread(LONGEST, address) if address < self._blob.size else b""
        return parse_inode(data, number, address, self._superblock)

    def _extents(self, inode: Inode) -> list[Extent]:
        found = list[Extent]()
        for part in extents(inode, self._superblock, self._devices, self._read):
            if part.address + part.length > self._blob.size:
                raise Corrupt("its content lies beyond the end of the image, or on another device")
            if not self._pieces:
                raise Corrupt(f"the content of all files so far lies in more than {_MOST_PIECES} pieces")
            self._pieces -= 1
            found.append(part)
        return found

    def _entries(self, directory: Inode) -> Iterator[tuple[bytes, int]]:
        previous = b""
        for block in self._blocks(directory):
            for name, number in parse_block(block):
                if name <= previous:
                    raise Corrupt("its names are not sorted")
                previous = name
                yield name, number

    def _blocks(self, directory: Inode) -> Iterator[bytes]:
        parts, block_size = self._extents(directory), self._superblock.block_size
        if sum(part.length for part in parts) != directory.st_size:
            raise Corrupt("a directory with a hole")
        for offset, address, length in parts:
            if offset % block_size:
                raise Corrupt("a directory with a block in two places")
            for start in range(0, length, block_size):
                yield self._read(address + start, min(block_size, length - start))

    def _target(self, inode: Inode) -> bytes:
        if not stat.S_ISLNK(inode.st_mode):
            return b""
        if inode.st_size > _LONGEST_PATH:
            raise Corrupt(f"a symbolic link to a path of {inode.st_size} bytes")
        return self._content(inode, 0, inode.st_size)

    def _content(self, inode: Inode, offset: int, size: int) -> bytes:
        """Some of the content of a file, up to its end."""
        size = max(0, min(size, inode.st_size - offset))
        whole = bytearray(size)
        for start, address, length in self._extents(inode):
            low, high = max(start, offset), min(start + length, offset + size)
            if low < high:
                whole[low - offset : high - offset] = self._read(address + low - start, high - low)
        return bytes(whole)

    def _xattrs(self, inode: Inode) -> dict[bytes, bytes]:
        if not inode.xattrs_size:
            return {}
        shared, own = parse_body(self._read(inode.xattrs, inode.xattrs_size))
        found = dict[bytes, bytes]()
        for entry in chain(split_entries(own), map(self._shared, shared)):
            self._entries_left -= 1
            if self._entries_left < 0:
                raise Corrupt(f"all files so far have more than {_MOST_XATTRS} extended attributes")
            name, value = parse_entry(entry, self._prefixes)
            if name in found:
                raise Corrupt("it has an extended attribute twice")
            if name is not None:
                found[name] = value
        return found

    def _shared(self, number: int) -> bytes:
        address = self._superblock.shared_xattrs + number * 4
        size = entry_size(self._blob.pread(ENTRY_SIZE, address))
        return self._blob.pread(size, address)

    def _long_prefixes(self) -> list[Prefix]:
        of = self._superblock
        size = of.prefix_count * LONGEST_PREFIX
        if not size:
            return []
        if of.packed:
            return parse_prefixes(self._content(self._inode(of.packed), of.prefixes, size), of.prefix_count)
        return parse_prefixes(self._blob.pread(size, of.prefixes), of.prefix_count)

    def _read(self, address: int, size: int) -> bytes:
        """Metadata at an address; all of it is there."""
        if address + size > self._blob.size:
            raise Corrupt("metadata lies beyond the end of the image")
        self._left -= size
        if self._left < 0:
            raise Corrupt("the image has more metadata than there is room for in it")
        return self._blob.pread(size, address)
