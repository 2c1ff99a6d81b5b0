"""Reading the files that a tar-split names; no byte of one is returned unchecked.

A file is read whole and must have its recorded crc64. One that is too large for that is read through once, which
also takes checksums of its blocks in memory; from then on each block that is read must have its checksum. So a file
that changes, at any moment, is an error and never wrong bytes; times and inodes are not relied on.
"""

import errno
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from fastcrc.crc64 import go_iso as crc64  # the table that Go's hash/crc64 calls ISO

from imgfs.blob import Blob, blob_chunks
from imgfs.blob.checked import BLOCK_SIZE, CheckedBlob, Checksums
from imgfs.blob.held_files import HeldFiles
from imgfs.errors import Corrupt, StoreError
from imgfs.tar.paths import components
from imgfs.tar.split.recipe import FileExtent

_WHOLE = 256 << 10  # files up to this size are read whole for any part of them
_AT_ONCE = 64 << 20  # a file of which all is wanted is read at once up to this size


class LooseFiles:
    """What is known so far of the large files of one layer, called `name` in errors."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._checksums: dict[int, bytes] = {}  # of the blocks of files that were read through, by number
        self._passes: defaultdict[int, Lock] = defaultdict(Lock)

    def read(
        self, files: HeldFiles, extent: FileExtent, start: int, end: int, *, may_block: bool = True
    ) -> bytes:
        """The bytes of a file from `start` to `end`, both inside it.

        Raises Corrupt if the file is not what it was, StoreError if it cannot be read; both name it. Unless it
        `may_block`, raises BlockingIOError where it would have to.
        """
        with self._errors(extent):
            return self._read(files, extent, start, end, may_block)

    def hold(self, files: HeldFiles, extent: FileExtent, *, may_block: bool = True) -> Blob | None:
        """Hold open a file, as `HeldFiles.hold` does. Raises as `read` does."""
        with self._errors(extent):
            return files.hold(_path(extent), may_block=may_block)

    @contextmanager
    def _errors(self, extent: FileExtent) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            raise
        except Corrupt as error:
            raise Corrupt(f"{self._name}: {error}") from None
        except StoreError as error:
            raise StoreError(f"{self._name}: {error}") from None
        except OSError as error:
            text = f"{self._name}: {_quoted(extent)} cannot be read: {error.strerror}"
            raise StoreError(text) from error

    def _read(self, files: HeldFiles, extent: FileExtent, start: int, end: int, may_block: bool) -> bytes:
        _, _, size, crc, _ = extent
        with files.open(_path(extent), may_block=may_block) as file:
            if file.size != size:
                raise _changed(extent, f"it has {file.size} bytes and not {size}")
            wanted = end - start
            if size > _WHOLE and (wanted != size or size > _AT_ONCE):
                return self._read_blocks(file, extent, start, end, may_block)
            data = file.pread(size, 0) if may_block else file.try_pread(size, 0)
            if data is None:
                raise _would_block()
            if crc64(data) != crc:
                raise _changed(extent, "its checksum is wrong")
            return data if wanted == size else data[start:end]

    def _read_blocks(self, file: Blob, extent: FileExtent, start: int, end: int, may_block: bool) -> bytes:
        number = extent.number
        if number not in self._checksums:
            if not may_block:
                raise _would_block()
            with self._passes[number]:
                if number not in self._checksums:
                    self._checksums[number] = _read_through(file, extent)
        blob = CheckedBlob(file, BLOCK_SIZE, self._checksums[number], f"{_quoted(extent)} has changed")
        data = blob.pread(end - start, start) if may_block else blob.try_pread(end - start, start)
        if data is None:
            raise _would_block()
        return data


def _path(extent: FileExtent) -> bytes:
    """The path of the file that an engine made of a member."""
    try:
        return b"/".join(components(extent.name))
    except ValueError as error:
        raise StoreError(f"{_quoted(extent)} has a name that no file has: {error}") from None


def _read_through(file: Blob, extent: FileExtent) -> bytes:
    """The checksums of a file's blocks, after its crc64 was found right."""
    checksums, crc = Checksums(BLOCK_SIZE), 0
    for chunk in blob_chunks(file):
        crc = crc64(chunk, crc)
        checksums.update(chunk)
    if crc != extent.crc:
        raise _changed(extent, "its checksum is wrong")
    return checksums.finish()


def _changed(extent: FileExtent, why: str) -> Corrupt:
    return Corrupt(f"{_quoted(extent)} has changed, {why}")


def _quoted(extent: FileExtent) -> str:
    return f"file {os.fsdecode(extent.name)!r}"


def _would_block() -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
