"""The cache directory: files by digest and kind, bounded, the least recently used going first.

Holds nothing that cannot be made again, so no failure here is an error: what cannot be read is absent and what
cannot be written is not kept. Files of other users, or that others may write, are not believed. Whoever reads
a file here checks its content; this room only keeps it. Any number of processes share one directory: files
appear by rename and disappear by unlink.
"""

import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from imgfs.blob import FileBlob
from imgfs.digest import Digest
from imgfs.errors import StoreError
from imgfs.layers.partial import PREFIX, Partial, left_behind

logger = logging.getLogger("imgfs")

_VERSION = "1"
COPY = "copy"
"""The kind of files that are large, and whose readers can do without."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """A file in the cache; `size` in bytes on disk, `used` in seconds since the epoch."""

    name: str
    path: str
    size: int
    used: float


class Cache:
    """The cache at `folder`, of at most `limit` bytes on disk. Safe to use from several threads."""

    def __init__(self, folder: str, limit: int) -> None:
        self.limit = limit
        self.folder = folder
        self._folder = os.path.join(folder, _VERSION)
        self._complained = False
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
        except OSError as error:
            self._complain(error)

    def open(self, digest: Digest, kind: str) -> FileBlob | None:
        """A kept file, marked as used now; None if there is none that can be believed."""
        try:
            blob = FileBlob(self._path(digest, kind))
        except (OSError, StoreError):
            return None
        status = os.fstat(blob.fileno())
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
            logger.warning("%s: not ours alone, so not believed", blob.path)
            blob.close()
            return None
        with suppress(OSError):  # a read-only cache is still worth reading
            os.utime(blob.fileno())
        return blob

    def keep(self, digest: Digest, kind: str, write: Callable[[BinaryIO], object]) -> None:
        """Keep what `write` writes, replacing an earlier file, and make room for it."""
        partial = self.begin()
        if partial is None:
            return
        try:
            with open(partial.fd, "wb", closefd=False) as file:
                write(file)
        except OSError as error:
            self._complain(error)
        else:
            self.keep_partial(partial, digest, kind)
        finally:
            partial.close()

    def keep_partial(self, partial: Partial, digest: Digest, kind: str) -> None:
        """Let a file that has been filled be found, and make room for it."""
        try:
            partial.place(self._path(digest, kind))
        except OSError as error:
            self._complain(error)
        self.prune()

    def begin(self) -> Partial | None:
        """A file to be filled bit by bit; None where none can be made."""
        try:
            return Partial(self._folder)
        except OSError as error:
            self._complain(error)
            return None

    def entries(self) -> list[CacheEntry]:
        """What is kept, the least recently used first."""
        return sorted(self._scan(), key=lambda entry: entry.used)

    def discard(self, digest: Digest, kind: str) -> None:
        """Stop keeping a file."""
        with suppress(OSError):
            os.unlink(self._path(digest, kind))

    def prune(self, limit: int | None = None) -> list[CacheEntry]:
        """Drop what was used least recently until at most `limit` bytes are left; answers what was dropped.

        What is still being written stays, and counts.
        """
        entries = self.entries()
        excess = sum(entry.size for entry in entries) - (self.limit if limit is None else limit)
        dropped = []
        for entry in entries:
            if excess <= 0:
                break
            try:
                if _drop(entry):
                    excess -= entry.size
                    dropped.append(entry)
            except FileNotFoundError:
                excess -= entry.size  # by another process
            except OSError as error:
                self._complain(error)
        return dropped

    def make_room(self) -> bool:
        """Drop what is too much; answers whether everything fits now."""
        self.prune()
        return sum(entry.size for entry in self._scan()) <= self.limit

    def _path(self, digest: Digest, kind: str) -> str:
        return os.path.join(self._folder, f"{digest.algorithm}-{digest.hex}.{kind}")

    def _scan(self) -> Iterator[CacheEntry]:
        try:
            entries = list(os.scandir(self._folder))
        except OSError:
            return
        for entry in entries:
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield CacheEntry(entry.name, entry.path, status.st_blocks * 512, status.st_mtime)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            logger.warning("cache %s: %s: working without what it cannot keep", self._folder, error.strerror)
        self._complained = True


def _drop(entry: CacheEntry) -> bool:
    """Remove a file, unless it is still being written. Raises OSError."""
    if entry.name.startswith(PREFIX) and not left_behind(entry.path):
        return False
    if entry.name.endswith(f".{COPY}"):
        # emptied first, so that the space comes back even while another process holds the file open
        fd = os.open(entry.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_nlink == 1:
                os.ftruncate(fd, 0)
        finally:
            os.close(fd)
    os.unlink(entry.path)
    return True
