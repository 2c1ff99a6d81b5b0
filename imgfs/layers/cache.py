"""The cache directory: files by digest and kind, bounded, the least recently used going first.

Holds nothing that cannot be made again, so no failure here is an error: what cannot be read is absent and what
cannot be written is not kept. Files of other users, or that others may write, are not believed. Whoever reads
a file here checks its content; this room only keeps it. Any number of processes share one directory: files
appear by rename and disappear by unlink.
"""

import logging
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from imgfs.blob import FileBlob
from imgfs.digest import Digest
from imgfs.errors import StoreError

logger = logging.getLogger("imgfs")

_VERSION = "1"
_PARTIAL = "partial-"


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

    def keep_partial(self, partial: "Partial", digest: Digest, kind: str) -> None:
        """Let a file that has been filled be found, and make room for it."""
        try:
            partial.place(self._path(digest, kind))
        except OSError as error:
            self._complain(error)
        self.prune()

    def begin(self) -> "Partial | None":
        """A file to be filled bit by bit; None where none can be made."""
        try:
            fd, path = tempfile.mkstemp(dir=self._folder, prefix=_PARTIAL)
        except OSError as error:
            self._complain(error)
            return None
        return Partial(fd, path)

    def entries(self) -> list[CacheEntry]:
        """What is kept, the least recently used first."""
        return sorted(self._scan(), key=lambda entry: entry.used)

    def discard(self, digest: Digest, kind: str) -> None:
        """Stop keeping a file."""
        with suppress(OSError):
            os.unlink(self._path(digest, kind))

    def prune(self, limit: int | None = None) -> list[CacheEntry]:
        """Drop what was used least recently until at most `limit` bytes are left; answers what was dropped."""
        entries = self.entries()
        excess = sum(entry.size for entry in entries) - (self.limit if limit is None else limit)
        dropped = []
        for entry in entries:
            if excess <= 0:
                break
            try:
                # emptied first, so that the space comes back even while another process holds the file open
                os.truncate(entry.path, 0)
                os.unlink(entry.path)
            except FileNotFoundError:
                pass
            except OSError as error:
                self._complain(error)
                continue
            excess -= entry.size
            dropped.append(entry)
        return dropped

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


class Partial:
    """A file in the cache that is still being written, seen by nobody; `fd` is open for reading and writing."""

    def __init__(self, fd: int, path: str) -> None:
        self._path: str | None = path
        self.fd = fd

    def place(self, path: str) -> None:
        """Give it the name that others find it by; `fd` stays open. Raises OSError."""
        if self._path is not None:
            os.rename(self._path, path)
            self._path = None

    def close(self) -> None:
        """Let go of it; what was not kept is removed."""
        path, self._path = self._path, None
        if path is not None:
            with suppress(OSError):
                os.unlink(path)
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
