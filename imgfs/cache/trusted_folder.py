"""A directory that is trusted because only its owner, this user or root, can write to it.

Root may run with the environment of another user, whose directories and links are where root's own should be. So the
directory is checked by its descriptor, and links are followed only if they belong to this user or root.
"""

import os
import stat
from contextlib import suppress

from imgfs.blob import Folder
from imgfs.errors import StoreError

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def open_trusted_folder(path: str, name: str, *, make: bool = True) -> Folder:
    """The directory `name` in the directory `path`, both made if they are missing and `make` is set.

    Raises StoreError if either belongs to another user or other users may write to it, OSError if it cannot be opened.
    """
    path = os.path.abspath(path)
    above, last = os.path.split(path)
    if make:
        with suppress(FileExistsError):
            os.makedirs(above)
    with Folder(os.open(above, _OPEN), above) as parent:
        with _open_last(parent, last, make=make) as outer:
            _check(outer, may_be_shared=True)
            inner = outer.folder(name, make=make, mode=0o700)
    try:
        _check(inner)
    except StoreError:
        inner.close()
        raise
    return inner


def is_ours(status: os.stat_result) -> bool:
    """Whether a file or directory belongs to this user or root, and others may not write to it."""
    return status.st_uid in (os.geteuid(), 0) and not stat.S_IMODE(status.st_mode) & 0o022


def _check(folder: Folder, *, may_be_shared: bool = False) -> None:
    status = os.fstat(folder.fileno())
    if status.st_uid not in (os.geteuid(), 0):
        raise StoreError(f"{folder.path} belongs to another user")
    if not is_ours(status) and not (may_be_shared and status.st_mode & stat.S_ISVTX):
        raise StoreError(f"{folder.path} may be written to by other users (chmod go-w)")


def _open_last(parent: Folder, name: str, *, make: bool) -> Folder:
    """The directory `name`, or the target of a link that belongs to this user or root; with `make` it is made."""
    path = parent.path_of(name)
    try:
        link = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent.fileno())
    except FileNotFoundError:
        status = os.fstat(parent.fileno())
        if status.st_uid not in (os.geteuid(), 0) and not status.st_mode & stat.S_ISVTX:
            raise StoreError(f"{parent.path} belongs to another user") from None
        return parent.folder(name, make=make, mode=0o700)
    try:
        status = os.fstat(link)
        if not stat.S_ISLNK(status.st_mode):
            return parent.folder(name)
        if status.st_uid not in (os.geteuid(), 0):
            raise StoreError(f"{path} is a link of another user")
        return Folder(os.open(os.readlink("", dir_fd=link), _OPEN, dir_fd=parent.fileno()), path)
    finally:
        os.close(link)
