"""The cache directory: files by digest and kind, of bounded size; the least recently used are removed first.

Everything in it can be made again, so no failure here is an error: a file that cannot be read is missing, and one that
cannot be written is not kept. A directory or file of another user, or that other users may write to, is not used.
Everything is opened beneath its descriptor, and files with other names are left alone. Readers check the content of
files. Any number of processes share one directory: files appear by rename and disappear by unlink.
"""

import copy
import logging
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from threading import Event
from typing import BinaryIO

import msgspec
import platformdirs

from imgfs.blob import FileBlob, Folder
from imgfs.cache.partial_file import PREFIX, Partial, left_behind
from imgfs.cache.trusted_folder import is_ours, open_trusted_folder
from imgfs.digest import Digest, is_digest
from imgfs.errors import StoreError

logger = logging.getLogger("imgfs")

_VERSION = "1"
_NAME = re.compile(r"sha(256|384|512)-[0-9a-f]+(\.of[-0-9]+)?\.[a-z0-9-]+|" + PREFIX + "[a-z0-9_]+")
DEFAULT_LIMIT = 8 << 30
"""Bytes on disk that the cache may take where nothing else is asked for."""
_SPARE = 32
"""The part of the limit that is kept free where files are added one by one, as looking at all of them takes time."""
COPY = "copy"
"""The kind of files that are large, and that their readers can do without."""


def default_folder() -> str:
    """The cache directory of this user, `$XDG_CACHE_HOME/imgfs`."""
    return platformdirs.user_cache_dir("imgfs")


class CacheEntry(msgspec.Struct, frozen=True):
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
        self._complained = Event()  # shared by what `of` returns
        self._mark = ""
        self._room = self._unseen = (
            0  # bytes that were free at the last look, and that this process has added since
        )
        self._files: Folder | None = None  # until it is needed and there
        for entry in self._scan(PREFIX):
            self._try_to_drop(entry)

    def of(self, writers: Iterable[int]) -> "Cache":
        """The same cache for stores that these users write to: they may name any digest without having its content.

        Files kept for stores of this user and root are not found for stores of others, and the other way around.
        """
        all_writers = set(writers)
        cache = copy.copy(self)
        # all of them: content from several stores is trusted only where all are
        cache._mark = (
            "" if all_writers <= {0, os.geteuid()} else f".of{'-'.join(map(str, sorted(all_writers)))}"
        )
        return cache

    def open(self, digest: Digest, kind: str) -> FileBlob | None:
        """A kept file, marked as used now; None if there is none that can be trusted."""
        blob = self.look_at(self._name(digest, kind))
        if blob is not None:
            with suppress(OSError):  # a read-only cache is still worth reading
                os.utime(blob.fileno())
        return blob

    def peek(self, digest: Digest, kind: str) -> FileBlob | None:
        """As `open`, but not marked as used."""
        return self.look_at(self._name(digest, kind))

    def kept(self, kind: str) -> list[Digest]:
        """The digests of the files of a kind."""
        folder = self._existing()
        if folder is None:
            return []
        end = f"{self._mark}.{kind}"
        try:
            stems = [entry.name.removesuffix(end) for entry in folder.scan() if entry.name.endswith(end)]
        except OSError:
            return []
        found = (stem.replace("-", ":", 1) for stem in stems)
        return [Digest(text) for text in found if is_digest(text)]

    def look_at(self, name: str) -> FileBlob | None:
        """The file called `name` as in `entries`, not marked as used; None if there is none that can be trusted."""
        files = self._files or self._existing()
        if files is None:
            return None
        try:
            blob = files.open(name)
        except (OSError, StoreError):
            return None
        status = os.fstat(blob.fileno())
        if not is_ours(status):
            logger.warning("%s: other users may write to it, so it is not used", blob.path)
            blob.close()
            return None
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
        """Give a file that has been filled its name, and make room for it."""
        try:
            partial.place(self._name(digest, kind))
            self._unseen += os.fstat(partial.fd).st_blocks * 512
        except OSError as error:
            self._complain(error)
        # looking at all files takes time, and other processes may add as much meanwhile
        if self._unseen > self._room / 4:
            self.prune(spare=self.limit // _SPARE)

    def begin(self) -> Partial | None:
        """A file to be filled bit by bit; None if none can be made. Makes the directory if it is missing."""
        try:
            if self._files is None and not self._complained.is_set():
                self._files = self._open_folder()
            try:
                return Partial(self._files) if self._files else None
            except FileNotFoundError:  # the directory was removed
                self._files = self._open_folder()
                return Partial(self._files) if self._files else None
        except OSError as error:
            self._complain(error)
            return None

    @property
    def is_refused(self) -> bool:
        """Whether nothing is kept, as the directory cannot be used; the reason was logged."""
        return self._files is None and self._complained.is_set()

    def entries(self) -> list[CacheEntry]:
        """What is kept, the least recently used first."""
        return sorted(self._scan(), key=lambda entry: entry.used)

    def discard(self, digest: Digest, kind: str) -> None:
        """Stop keeping a file."""
        if self._files is not None:
            with suppress(OSError):
                self._files.unlink(self._name(digest, kind))

    def prune(self, limit: int | None = None, *, spare: int = 0) -> list[CacheEntry]:
        """Drop what was used least recently until at most `limit` bytes are left; returns what was dropped.

        Where less than half of `spare` is free below the limit, as much as that is freed. What is still being written
        stays, and counts.
        """
        entries = self.entries()
        kept = sum(entry.size for entry in entries)
        limit = self.limit if limit is None else limit
        excess = kept - limit + (spare if kept > limit - spare // 2 else 0)
        dropped = []
        for entry in entries:
            if (excess > 0 or entry.name.startswith(PREFIX)) and self._try_to_drop(entry):
                excess -= entry.size
                kept -= entry.size
                dropped.append(entry)
        self._room, self._unseen = self.limit - kept, 0
        return dropped

    def make_room(self) -> bool:
        """Drop what is too much; returns whether everything fits now."""
        self.prune()
        return sum(entry.size for entry in self._scan()) <= self.limit

    def _scan(self, prefix: str = "") -> Iterator[CacheEntry]:
        folder = self._existing()
        if folder is None:
            return
        try:
            names = [entry.name for entry in folder.scan() if entry.name.startswith(prefix)]
        except OSError:
            return
        for name in filter(_NAME.fullmatch, names):
            with suppress(OSError):
                status = folder.stat(name)
                if stat.S_ISREG(status.st_mode):
                    yield CacheEntry(name, folder.path_of(name), status.st_blocks * 512, status.st_mtime)

    def _try_to_drop(self, entry: CacheEntry) -> bool:
        """Remove a file; returns whether it is gone, which it is not while it is being written."""
        try:
            return self._files is not None and _drop(self._files, entry.name)
        except FileNotFoundError:
            return True  # by another process
        except OSError as error:
            self._complain(error)
            return False

    def _name(self, digest: Digest, kind: str) -> str:
        return f"{digest.algorithm}-{digest.hex}{self._mark}.{kind}"

    def _existing(self) -> Folder | None:
        """The directory if it is there, made by this process or another, and can be used."""
        if self._files is None and not self._complained.is_set():
            self._files = self._open_folder(make=False)
        return self._files

    def _open_folder(self, *, make: bool = True) -> Folder | None:
        try:
            return open_trusted_folder(self.folder, _VERSION, make=make)
        except FileNotFoundError as error:
            if make:
                self._complain(error)
            return None
        except (OSError, StoreError) as error:
            self._complain(error)
            return None

    def _complain(self, error: Exception) -> None:
        if not self._complained.is_set():
            path = os.path.join(self.folder, _VERSION)
            why = error.strerror if isinstance(error, OSError) else str(error)
            logger.warning("cache %s: %s: working without what it cannot keep", path, why)
        self._complained.set()


def _drop(folder: Folder, name: str) -> bool:
    """Remove a file, unless it is still being written. Raises OSError."""
    if name.startswith(PREFIX) and not left_behind(folder, name):
        return False
    if name.endswith(f".{COPY}"):
        # emptied first, so that the space comes back even while another process holds the file open
        fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.fileno())
        try:
            if os.fstat(fd).st_nlink == 1:
                os.ftruncate(fd, 0)
        finally:
            os.close(fd)
    folder.unlink(name)
    return True
