"""Copying a file or a directory out of a root file system, into a directory or as a tar.

Everything is made beneath the descriptor of the directory that it goes into, and no symbolic link there is followed:
neither the image, whose names are plain, nor what the directory has already leads a write elsewhere.
Tried by the tests of `imgfs cp` and `imgfs export`.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from imgfs.blob import Folder, blob_chunks
from imgfs.rootfs.rootfs import RootFS, Stat
from imgfs.tar.fields import BLOCK, padded
from imgfs.tar.headers import member_header
from imgfs.tar.member import HARDLINK
from imgfs.tree.flat import TYPES

_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID
_ZEROS = bytes(1 << 20)


class CopyOut:
    """Copies entries of `root` into `folder`. With `archive`, owners, all mode bits and extended attributes are kept.

    Without it, files belong to the caller and are not set-user-ID. `report` is called with a line for what cannot be
    made, which is skipped. Directories merge with those that are there; anything else is replaced.
    """

    def __init__(
        self, root: RootFS, folder: Folder, report: Callable[[str], None], *, archive: bool = False
    ) -> None:
        self._root = root
        self._top = folder
        self._report = report
        self._archive = archive
        self._first_names: dict[int, str] = {}

    def copy(self, entry: int, name: str) -> None:
        """Copy an entry of the tree to `name`, with all that is in it; the content of a directory alone if that is "".

        Raises OSError, and what reading the layers raises.
        """
        tree = self._root.tree
        if not tree.is_directory(entry):
            self._file(entry, self._top, "", name)
            return
        with ExitStack() as stack:
            # what is left to do in each directory on the way, its folder, and its path below the top
            waiting = [self._enter(entry, self._top, "", name, stack)]
            while waiting:
                children, folder, path, inner = waiting[-1]
                child = next(children, None)
                if child is None:
                    waiting.pop()
                    inner.close()
                elif tree.is_directory(child):
                    child_name = os.fsdecode(tree.name(child))
                    waiting.append(self._enter(child, folder, path, child_name, stack))
                else:
                    self._file(child, folder, path, os.fsdecode(tree.name(child)))

    def _enter(
        self, entry: int, into: Folder, path: str, name: str, stack: ExitStack
    ) -> tuple[Iterator[int], Folder, str, ExitStack]:
        """Make a directory; closing what is returned last gives it its metadata, once what is in it is made."""
        inner = stack.enter_context(ExitStack())
        folder = into
        if name:
            if not _make_way(into, name, for_directory=True):
                os.mkdir(name, 0o700, dir_fd=into.fileno())
            folder = inner.enter_context(into.folder(name))
        found = self._root.stat_entry(entry)
        inner.callback(self._finish, found, folder.fileno(), folder.path)
        below = os.path.join(path, name) if name else path
        return iter(self._root.tree.children(entry)), folder, below, inner

    def _file(self, entry: int, into: Folder, path: str, name: str) -> None:
        found = self._root.stat_entry(self._root.tree.inode(entry))
        _make_way(into, name, for_directory=False)
        first = self._first_names.get(found.inode)
        if first is not None:
            os.link(
                first, name, src_dir_fd=self._top.fileno(), dst_dir_fd=into.fileno(), follow_symlinks=False
            )
            return
        kind = stat.S_IFMT(found.mode)
        if kind == stat.S_IFREG:
            self._regular(found, into, name)
        elif kind == stat.S_IFLNK:
            os.symlink(found.target, name, dir_fd=into.fileno())
            if self._archive:
                os.chown(name, found.uid, found.gid, dir_fd=into.fileno(), follow_symlinks=False)
            times = (found.mtime_ns, found.mtime_ns)
            os.utime(name, ns=times, dir_fd=into.fileno(), follow_symlinks=False)
        elif not self._special(found, into, name):
            return
        if found.links > 1:
            self._first_names[found.inode] = os.path.join(path, name)

    def _regular(self, found: Stat, into: Folder, name: str) -> None:
        fd = into.create(name, 0o600)
        with open(fd, "wb") as file, self._root.content(found.inode) as content:
            for chunk in blob_chunks(content, len(_ZEROS)):
                if _ZEROS.startswith(chunk):
                    file.seek(len(chunk), os.SEEK_CUR)
                else:
                    file.write(chunk)
            file.truncate()
            file.flush()
            self._finish(found, fd, into.path_of(name))

    def _special(self, found: Stat, into: Folder, name: str) -> bool:
        device = os.makedev(*found.device) if found.device else 0
        try:
            os.mknod(name, stat.S_IFMT(found.mode) | self._mode(found), device, dir_fd=into.fileno())
        except PermissionError:
            self._report(f"skipping {into.path_of(name)}: only root can make a device")
            return False
        os.utime(name, ns=(found.mtime_ns, found.mtime_ns), dir_fd=into.fileno(), follow_symlinks=False)
        return True

    def _finish(self, found: Stat, fd: int, path: str) -> None:
        """Give an open file or directory its metadata."""
        if self._archive:
            os.fchown(fd, found.uid, found.gid)
            for attribute, value in found.xattrs.items():
                try:
                    os.setxattr(fd, attribute, value)
                except OSError as error:
                    self._report(f"{path}: no attribute {os.fsdecode(attribute)}: {error.strerror}")
        os.fchmod(fd, self._mode(found))
        os.utime(fd, ns=(found.mtime_ns, found.mtime_ns))

    def _mode(self, found: Stat) -> int:
        mode = stat.S_IMODE(found.mode)
        return mode if self._archive else mode & ~_SPECIAL_BITS


def _make_way(into: Folder, name: str, *, for_directory: bool) -> bool:
    """Remove what has a name, unless that and what will have it are directories; returns whether they are."""
    try:
        is_directory = stat.S_ISDIR(into.stat(name).st_mode)
    except FileNotFoundError:
        return False
    if not is_directory:
        into.unlink(name)
    elif not for_directory:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), into.path_of(name))
    return is_directory


def tar_of(root: RootFS, entry: int, name: bytes) -> Iterator[bytes]:
    """A tar of an entry of the tree and all that is in it, under `name`, or for "" of what is in it alone.

    Raises what reading the layers raises.
    """
    tree = root.tree
    names = {entry: name}
    first_names: dict[int, bytes] = {}
    waiting = [entry]
    while waiting:
        at = waiting.pop()
        path = names.pop(at)
        inode = tree.inode(at)
        found = root.stat_entry(inode)
        if path:
            link = first_names.get(inode)
            yield from _member(root, found, path, link)
            if found.links > 1 and not stat.S_ISDIR(found.mode):
                first_names.setdefault(inode, path)
        for child in reversed(tree.children(at)):
            names[child] = path + b"/" * bool(path) + tree.name(child)
            waiting.append(child)
    yield bytes(2 * BLOCK)


def _member(root: RootFS, found: Stat, path: bytes, link: bytes | None) -> Iterator[bytes]:
    is_file = stat.S_ISREG(found.mode) and link is None
    target = os.fsencode(found.target) if link is None else link
    yield member_header(
        path,
        TYPES[stat.S_IFMT(found.mode)] if link is None else HARDLINK,
        found.size if is_file else 0,
        stat.S_IMODE(found.mode),
        (found.uid, found.gid),
        found.mtime_ns,
        target,
        found.device or (0, 0),
        found.xattrs if link is None else {},
    )
    if is_file:
        with root.content(found.inode) as content:
            yield from blob_chunks(content)
        yield bytes(padded(found.size) - found.size)
