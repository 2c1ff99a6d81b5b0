"""Small files read with suspicion and written whole.

Reading never follows a symbolic link, waits on a pipe or takes more than a limit. Writing shows others the
old content or the new, also after the process is killed or the machine stops. Knows no digests.
"""

import os
import secrets
import shutil
import stat
from contextlib import suppress

from imgfs.errors import StoreError


def read_file(path: str, limit: int) -> bytes:
    """All of a regular file of at most `limit` bytes. Raises StoreError if it is none, or OSError."""
    with open(path, "rb", buffering=0, opener=_open_warily) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise StoreError(f"{path}: not a regular file")
        pieces, size = [], 0
        while piece := file.read(limit + 1 - size):
            pieces.append(piece)
            size += len(piece)
    if size > limit:
        raise StoreError(f"{path}: larger than {limit} bytes")
    return b"".join(pieces)


def _open_warily(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def write_file(path: str, data: bytes, staging: str) -> None:
    """Make `path` hold `data`, all or nothing, by way of a file in `staging`. Raises OSError.

    `staging` is a directory of the same file system; whoever is killed on the way leaves a file there.
    """
    temporary = os.path.join(staging, secrets.token_hex(8))
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path))


def replace(path: str, place: str) -> None:
    """Rename a file to `place`, whatever is there, even a directory. Raises OSError."""
    try:
        os.replace(path, place)
    except IsADirectoryError:
        shutil.rmtree(place)
        os.replace(path, place)


def remove(path: str) -> None:
    """Remove a file, a link or a whole directory, if it is there. Raises OSError."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except FileNotFoundError:
        return
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Make what was renamed or removed in a directory last through a crash of the machine. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
