"""The files in a store: the one way to open, stat or list them, so that nothing outside the store is ever shown.

The path of a store is given by the user and may have links; its directory is held open, and names are resolved beneath
it by `resolve`. What a name led to is checked by its descriptor and never by its path, so that no race matters.
"""

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import ELOOP, EXDEV
from threading import Lock
from typing import Self

from imgfs.blob.file import READ_FLAGS, Descriptor, FileBlob, writer_of
from imgfs.blob.folder import Folder, make_directories
from imgfs.blob.resolve import Links, open_beneath
from imgfs.blob.stamp import CLOCK_GRAIN_NS, FileStamp, recently_modified
from imgfs.errors import StoreError

_LOOK = os.O_PATH | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Root:
    """A directory whose files are named by relative paths; `links` is how symbolic links below it are treated.

    It need not exist yet: it is opened when it is first used. The name `""` is the directory itself. Safe to use from
    several threads. Every method raises OSError naming the path, FileNotFoundError if it does not exist, and StoreError
    for a link that is not followed.
    """

    def __init__(self, path: str | os.PathLike[str], links: Links = Links.REFUSED) -> None:
        self.path = os.path.abspath(path)
        self.links = links
        self._top = _Top(self.path)
        self._prefix = ""  # or a path that ends in a slash

    def below(self, name: str) -> Self:
        """The directory `name` as a root; links on the way to it are treated as in this one."""
        inner = type(self)(self.path_of(name), self.links)
        inner._top, inner._prefix = self._top, posixpath.join(self._prefix, name, "")
        return inner

    def path_of(self, name: str) -> str:
        """The path of the file `name`, for messages."""
        return f"{self.path.rstrip('/')}/{name}" if name else self.path

    def open(self, name: str) -> FileBlob:
        """The regular file `name`. Raises StoreError if it is anything else, or not readable by the store's owner."""
        file = FileBlob(self.path_of(name), self.descriptor(name, READ_FLAGS))
        if not self._top.may_show(file.status):
            file.close()
            raise StoreError(
                f"{file.path}: another user's file, which the owner of {self._top.path} may not read"
            )
        return file

    def read(self, name: str, limit: int) -> bytes:
        """All of a regular file of at most `limit` bytes. Raises StoreError if it is not one, or larger."""
        with self.open(name) as file:
            if file.size > limit:
                raise StoreError(f"{file.path}: larger than {limit} bytes")
            return file.pread(file.size, 0)

    def stat(self, name: str = "") -> os.stat_result:
        """The status of a file or directory of any kind."""
        fd = self.descriptor(name, _LOOK)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    @property
    def writer(self) -> int:
        """The user who controls the content of the directory, as `writer_of` returns it."""
        return writer_of(self.stat())

    def stamp(self, names: Iterable[str], settled_ns: int = CLOCK_GRAIN_NS) -> tuple[object, ...]:
        """A value that changes when one of some files or directories is changed, made, replaced or removed.

        While the last change is more recent than `settled_ns` nanoseconds, it differs at every call: another change
        may follow that the times do not show.
        """
        stamps: list[FileStamp | None] = []
        for name in names:
            try:
                stamps.append(FileStamp.of(self.stat(name)))
            except (FileNotFoundError, NotADirectoryError, StoreError):
                stamps.append(None)
        return (*stamps, recently_modified((stamp.mtime_ns for stamp in stamps if stamp), settled_ns))

    def is_directory(self, name: str = "") -> bool:
        """Whether `name` is a directory; a link that is not followed is not one. Raises OSError."""
        try:
            return stat.S_ISDIR(self.stat(name).st_mode)
        except (FileNotFoundError, NotADirectoryError, StoreError):
            return False

    def exists(self, name: str) -> bool:
        """Whether `name` exists, even as a link that is not followed. Raises OSError."""
        try:
            self.stat(name)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except StoreError:
            return True
        return True

    def names(self, name: str = "") -> list[str]:
        """The names in a directory, in any order."""
        with self.scan(name) as entries:
            return [entry.name for entry in entries]

    @contextmanager
    def scan(self, name: str = "") -> Iterator[Iterator[os.DirEntry[str]]]:
        """The entries of a directory, one after the other; their methods work without following links."""
        fd = self.descriptor(name, _LIST)
        try:
            with os.scandir(fd) as entries:
                yield entries
        finally:
            os.close(fd)

    def folder(self, name: str = "", *, make: bool = False) -> Folder:
        """The directory `name`, to be written to; with `make`, it is made if it is missing."""
        if not make:
            return Folder(self.descriptor(name, _LIST), self.path_of(name))
        make_directories(self._top.path)
        folder = Folder(self._top.descriptor(b".", _LIST, self.links), self._top.path)
        for part in filter(None, posixpath.join(self._prefix, name).split("/")):
            with folder:
                inner = folder.folder(part, make=True)
            folder = inner
        return folder

    def descriptor(self, name: str, flags: int) -> int:
        """A descriptor of `name`, opened with `flags` of open(2); the caller closes it, and checks what it is."""
        relative = os.fsencode(posixpath.join(self._prefix, name) if self._prefix else name or ".")
        try:
            return self._top.descriptor(relative, flags, self.links)
        except OSError as error:
            if error.filename is not None:  # the root itself
                raise
            path = self.path_of(name)
            if error.errno in (ELOOP, EXDEV):
                raise StoreError(f"{path}: {_refused(error.errno, self._top.path, self.links)}") from None
            raise OSError(error.errno, error.strerror, path) from None

    def follow(self) -> None:
        """Check whether another directory has taken this one's place; if so, that is used from now on."""
        self._top.follow()

    def close(self) -> None:
        """Close the directory; open files stay readable, and further use opens it again."""
        self._top.close()


class _Top:
    """The directory at `path`, held open as long as it is the one there."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = Lock()
        self._held: _Held | None = None
        self._owner: int | None = None

    def descriptor(self, name: bytes, flags: int, links: Links) -> int:
        held = self._hold()
        try:
            return open_beneath(held.fileno(), name, flags, links)
        except FileNotFoundError:
            self.follow()
            now = self._hold()
            if now is held:
                raise
        return open_beneath(now.fileno(), name, flags, links)

    def may_show(self, status: os.stat_result) -> bool:
        """Whether the store may show a file: the store's owner has to be allowed to read it.

        The owner of a store can link any file of the file system into it, unless the kernel has fs.protected_hardlinks.
        """
        top = self._hold().status
        if top.st_uid in (0, os.geteuid(), status.st_uid) or status.st_mode & stat.S_IROTH:
            return True
        return status.st_gid == top.st_gid and bool(status.st_mode & stat.S_IRGRP)

    def follow(self) -> None:
        with self._lock:
            held = self._held
            if held is not None:
                with suppress(OSError):
                    if os.path.samestat(os.stat(self.path), held.status):
                        return
                self._held = None  # closed when the last call that uses it has ended

    def close(self) -> None:
        with self._lock:
            self._held = None

    def _hold(self) -> "_Held":
        with self._lock:
            if self._held is None:
                held = _Held(self.path)
                owner = held.status.st_uid
                # else its owner could lead a mount to another's directory by a link in its place
                if self._owner not in (None, owner):
                    raise StoreError(f"{self.path}: another user's directory has taken its place")
                self._owner, self._held = owner, held
            return self._held


class _Held(Descriptor):
    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.status = os.fstat(self._fd)


def _refused(number: int, root: str, links: Links) -> str:
    if links is Links.REFUSED:
        return "a symbolic link inside a store is not followed (a bind mount is)"
    if number == ELOOP:
        return os.strerror(ELOOP)
    return f"a symbolic link leads out of {root} and is not followed (cp -rL makes a copy without links)"
