"""A directory as a tar, streamed: what `import DIR` makes its layer of.

Format: pax (POSIX.1-2001), as `imgfs.tar.headers` writes it; what a file is, the standard library's `tarfile` finds.
Members are sorted by name, owners numeric as they are.
"""

import io
import logging
import os
import stat
import tarfile
from collections.abc import Iterator

from imgfs.errors import StoreError
from imgfs.tar.headers import member_header

logger = logging.getLogger("imgfs")

_CHUNK = 1 << 20
_KEPT_XATTRS = ("user.", "security.capability")  # the ones that belong to an image, as docker has it


def directory_chunks(root: str) -> Iterator[bytes]:
    """The tar of everything below `root`, piece by piece.

    Raises OSError if something cannot be read, StoreError if a file changes while it is read.
    """
    # a TarFile that is never written to: it makes the headers and remembers hard links
    archive = tarfile.TarFile(fileobj=io.BytesIO(), mode="w", format=tarfile.PAX_FORMAT)
    size = 0
    for path, name in _walk(root):
        info = archive.gettarinfo(path, name)
        if info is None:
            logger.warning("%s: sockets are not kept in a tar", path)
            continue
        header = member_header(
            os.fsencode(name),
            info.type,
            info.size,
            stat.S_IMODE(info.mode),
            (info.uid, info.gid),
            max(int(info.mtime), 0) * 1_000_000_000,
            os.fsencode(info.linkname),
            (info.devmajor, info.devminor),
            _xattrs(path),
        )
        yield header
        size += len(header)
        if info.isreg() and info.size:
            yield from _content(path, info.size)
            size += info.size + -info.size % tarfile.BLOCKSIZE
    yield bytes(2 * tarfile.BLOCKSIZE + -(size + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE)


def _walk(root: str) -> Iterator[tuple[str, str]]:
    """Path and member name of everything below `root`, parents first; not recursive, as trees may be deep."""
    waiting = [(root, "")]
    while waiting:
        path, name = waiting.pop()
        if name:
            yield path, name
        if (os.path.isdir(path) and not os.path.islink(path)) or not name:
            for child in sorted(os.listdir(path), reverse=True):
                waiting.append((os.path.join(path, child), f"{name}/{child}" if name else child))


def _content(path: str, size: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        missing = size
        while missing:
            chunk = file.read(min(_CHUNK, missing))
            if not chunk:
                raise StoreError(f"{path}: file became shorter while it was read")
            yield chunk
            missing -= len(chunk)
    yield bytes(-size % tarfile.BLOCKSIZE)


def _xattrs(path: str) -> dict[bytes, bytes]:
    found = {}
    for name in os.listxattr(path, follow_symlinks=False):
        if not name.startswith(_KEPT_XATTRS):
            continue
        if "=" in name:
            logger.warning("%s: a tar cannot keep its attribute %r", path, name)
            continue
        found[os.fsencode(name)] = os.getxattr(path, name, follow_symlinks=False)
    return found
