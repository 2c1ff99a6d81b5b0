"""Reading the files that a tar-split names, none of whose bytes is given out unchecked.

A file is read whole and must have its recorded crc64. One that is too large for that is read through once, which
also takes checksums of its blocks in memory; from then on each block read must have its checksum. So a file that
changed, at whatever moment, is an error and never wrong bytes; times and inodes are not relied on.
"""

import errno
import os
from collections import defaultdict
from threading import Lock

from fastcrc.crc64 import go_iso as crc64  # the table that Go's hash/crc64 calls ISO

from imgfs.blob import Blob
from imgfs.blob.checked import BLOCK_SIZE, CheckedBlob, Checksums
from imgfs.blob.file_tree import FileTree
from imgfs.errors import Corrupt, ImgfsError, StoreError
from imgfs.tar.paths import components
from imgfs.tar.tar_split import FileExtent

_WHOLE = 256 << 10  # files up to this size are read whole for any part of them
_AT_ONCE = 64 << 20  # a file of which all is wanted is read at once up to this size
_CHUNK = 1 << 20


class SplitFiles:
    """What is known by now of the large files of one layer, called `name` in errors."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._checksums: dict[int, bytes] = {}  # of the blocks of files that were read through, by number
        self._passes: defaultdict[int, Lock] = defaultdict(Lock)

    def read(
        self, tree: FileTree, extent: FileExtent, start: int, end: int, *, may_block: bool = True
    ) -> bytes | bytearray:
        """The bytes of a file from `start` to `end`, both inside it.

        Raises Corrupt if the file is not what it was, StoreError if it cannot be read; both name it. Unless it
        `may_block`, raises BlockingIOError where it would have to.
        """
        _, _, size, crc, name = extent
        try:
            fd, size_now = tree.open(_cleaned(name), may_block=may_block)
            try:
                if size_now != size:
                    raise Corrupt(f"has changed, it has {size_now} bytes and not {size}")
                wanted = end - start
                if size > _WHOLE and (wanted != size or size > _AT_ONCE):
                    return self._read_blocks(_Opened(fd, size), extent, start, end, may_block)
                data = os.pread(fd, size, 0) if may_block else _pread_now(fd, size, 0)
                if len(data) != size or crc64(data) != crc:
                    raise Corrupt("has changed, its checksum is wrong")
                return data if wanted == size else data[start:end]
            finally:
                os.close(fd)
        except ImgfsError as error:
            raise type(error)(f"{self._name}: file {os.fsdecode(name)!r} {error}") from None
        except OSError as error:
            if not may_block and error.errno == errno.EAGAIN:
                raise
            text = f"{self._name}: file {os.fsdecode(name)!r} cannot be read: {error.strerror}"
            raise StoreError(text) from error

    def _read_blocks(
        self, file: "_Opened", extent: FileExtent, start: int, end: int, may_block: bool
    ) -> bytes:
        number = extent.number
        if number not in self._checksums:
            if not may_block:
                raise _would_block()
            with self._passes[number]:
                if number not in self._checksums:
                    self._checksums[number] = _read_through(file, extent)
        blob = CheckedBlob(file, BLOCK_SIZE, self._checksums[number], "has changed")
        data = blob.pread(end - start, start) if may_block else blob.try_pread(end - start, start)
        if data is None:
            raise _would_block()
        return data


def _cleaned(name: bytes) -> bytes:
    """A name in a tar as that of the file which an engine made of it."""
    try:
        return b"/".join(components(name))
    except ValueError as error:
        raise StoreError(f"has a name that no file has: {error}") from None


def _read_through(file: "_Opened", extent: FileExtent) -> bytes:
    """The checksums of a file's blocks, after its crc64 was found right."""
    checksums, crc, offset = Checksums(BLOCK_SIZE), 0, 0
    while offset < extent.size:
        chunk = file.pread(min(_CHUNK, extent.size - offset), offset)
        if not chunk:
            raise Corrupt("has changed, it became shorter")
        crc = crc64(chunk, crc)
        checksums.update(chunk)
        offset += len(chunk)
    if crc != extent.crc:
        raise Corrupt("has changed, its checksum is wrong")
    return checksums.finish()


class _Opened(Blob):
    """A file that is open for the length of one call."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    def pread(self, size: int, offset: int) -> bytes:
        pieces = []
        while size:
            piece = os.pread(self._fd, size, offset)
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
            offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        try:
            return bytes(_pread_now(self._fd, size, offset))
        except BlockingIOError:
            return None


def _pread_now(fd: int, size: int, offset: int) -> bytearray:
    """All the bytes asked for, out of the kernel's memory; raises BlockingIOError where they are not there."""
    buffer = bytearray(size)
    try:
        got = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            raise _would_block() from None
        raise
    if got < size:
        raise _would_block()
    return buffer


def _would_block() -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
