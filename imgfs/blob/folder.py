"""A directory that is written to: files in it are made, renamed and removed by plain names beneath its descriptor.

So a user who controls a directory above it, or puts a link in the place of a file, cannot redirect a write.
Files are written all or nothing, even if the process is killed or the machine stops.
"""

import ctypes
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Self

from imgfs.blob.file import READ_FLAGS, Descriptor, FileBlob
from imgfs.errors import StoreError

_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FEW = 4  # files that are synced one by one; more are with their whole file system, in one step
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_syncfs = ctypes.CDLL(None).syncfs


class Folder(Descriptor):
    """The directory that `fd` is open on and that messages call `path`; a context manager. `fd` is now its to close.

    Names are plain names of its entries, and no link is followed. Every method raises OSError naming the path.
    """

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self.path = path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def path_of(self, name: str) -> str:
        """The path of the entry `name`, for messages."""
        return os.path.join(self.path, name)

    def folder(self, name: str, *, make: bool = False, mode: int = 0o777) -> "Folder":
        """The directory `name` in this one; if it is missing and `make` is set, it is made with `mode`."""
        with self._naming(name):
            try:
                return Folder(os.open(name, _LIST, dir_fd=self._fd), self.path_of(name))
            except FileNotFoundError:
                if not make:
                    raise
            with suppress(FileExistsError):  # another process was faster
                os.mkdir(name, mode, dir_fd=self._fd)
            self.sync()
            return Folder(os.open(name, _LIST, dir_fd=self._fd), self.path_of(name))

    def open(self, name: str) -> FileBlob:
        """A regular file. Raises StoreError if it is anything else."""
        with self._naming(name):
            fd = os.open(name, READ_FLAGS | os.O_NOFOLLOW, dir_fd=self._fd)
        return FileBlob(self.path_of(name), fd)

    def stat(self, name: str) -> os.stat_result:
        """The status of the entry `name`, which may be a link."""
        with self._naming(name):
            return os.stat(name, dir_fd=self._fd, follow_symlinks=False)

    def scan(self) -> list[os.DirEntry[str]]:
        """Its entries, whose methods work without following links while it is open."""
        with self._naming(""), os.scandir(self._fd) as entries:
            return list(entries)

    def create(self, name: str, mode: int = 0o666) -> int:
        """A descriptor of a new file, for reading and writing, to be closed by the caller."""
        with self._naming(name):
            return os.open(name, _CREATE, mode, dir_fd=self._fd)

    def open_lock(self, name: str) -> FileBlob:
        """A regular file to be locked, made empty if it is not there. Raises StoreError if it is anything else."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._naming(name):
            fd = os.open(name, flags, 0o644, dir_fd=self._fd)
        return FileBlob(self.path_of(name), fd)

    def write(self, name: str, data: bytes, staging: "Folder") -> None:
        """Write `data` to a file, all or nothing, by way of one in `staging`, which is on the same file system.

        A process that is killed meanwhile leaves a file there.
        """
        self.write_all({name: data}, staging)

    def write_all(self, files: Mapping[str, bytes], staging: "Folder") -> None:
        """Make each of some files hold its data, as `write` does; they appear one after the other."""
        temporary: dict[str, str] = {}
        try:
            for name, data in files.items():
                temporary[name] = secrets.token_hex(8)
                with open(staging.create(temporary[name]), "wb") as file:
                    file.write(data)
            staging.sync_files(temporary.values())
            for name in files:
                staging.rename(temporary[name], self, name)
        except BaseException:
            for name in temporary.values():
                with suppress(OSError):
                    os.unlink(name, dir_fd=staging.fileno())
            raise
        self.sync()

    def sync_files(self, names: Collection[str]) -> None:
        """Make what some files in it hold last through a crash of the machine."""
        if len(names) > _FEW and _syncfs(self._fd) == 0:
            return
        for name in names:
            with self.open(name) as file:
                os.fsync(file.fileno())

    def rename(self, name: str, into: "Folder", new_name: str) -> None:
        """Rename a file, replacing what has the new name, even a directory."""
        with into._naming(new_name):
            try:
                os.rename(name, new_name, src_dir_fd=self._fd, dst_dir_fd=into._fd)
            except IsADirectoryError:
                shutil.rmtree(new_name, dir_fd=into._fd)
                os.rename(name, new_name, src_dir_fd=self._fd, dst_dir_fd=into._fd)

    def link(self, name: str, into: "Folder", new_name: str) -> None:
        """Give a file another name. Raises FileExistsError if there is one of that name."""
        with into._naming(new_name):
            os.link(name, new_name, src_dir_fd=self._fd, dst_dir_fd=into._fd, follow_symlinks=False)

    def unlink(self, name: str) -> None:
        """Remove a file or a link."""
        with self._naming(name):
            os.unlink(name, dir_fd=self._fd)

    def remove(self, name: str) -> None:
        """Remove a file, a link or a whole directory, if it is there."""
        with self._naming(name):
            try:
                if stat.S_ISDIR(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode):
                    shutil.rmtree(name, dir_fd=self._fd)
                else:
                    os.unlink(name, dir_fd=self._fd)
            except FileNotFoundError:
                return

    def sync(self) -> None:
        """Make what was made, renamed or removed here survive a crash of the machine."""
        with self._naming(""):
            os.fsync(self._fd)

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Errors name the whole path; a name with a slash, `.` and `..` are refused."""
        path = self.path_of(name) if name else self.path
        if "/" in name or name in (".", ".."):
            raise StoreError(f"{path}: not a plain name")
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None


def make_directories(path: str) -> None:
    """Make the directory `path` and those above it, following links as the path is a user's; each survives a crash."""
    above = os.path.dirname(path)
    if not os.path.isdir(path):
        if above != path:
            make_directories(above)
        with suppress(FileExistsError):
            os.mkdir(path)
        with Folder(os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), above) as folder:
            folder.sync()
