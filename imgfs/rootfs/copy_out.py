"""Copying a file or a directory out of a root file system, into a directory or as a tar.

Everything is made beneath the descriptor of the directory that it goes into, and no symbolic link there is followed:
neither the image, whose names are plain, nor what the directory has already leads a write elsewhere.
Tried by the tests of `imgfs cp` and `imgfs export`.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from imgfs.blob import Folder, PaddedBlob, Slice, blob_chunks
from imgfs.rootfs.rootfs import RootFS, Stat
from imgfs.tar.fields import BLOCK, padded
from imgfs.tar.headers import member_header
from imgfs.tar.member import HARDLINK, TYPES
from imgfs.tree import Paths

_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID
_ZEROS = bytes(1 << 20)


class CopyOut:
    """Copies entries of `root` into `folder`. With `archive`, owners, all mode bits and extended attributes are kept.

    Without it, files belong to the caller and are not set-user-ID. `report` is called with a line for what cannot be
    made, which is skipped. Directories merge with those that are there; anything else is replaced. Names of one file
    are hard links, unless one cannot be made: then the file is copied again.
    """

    def __init__(
        self, root: RootFS, folder: Folder, report: Callable[[str], None], *, archive: bool = False
    ) -> None:
        self._root = root
        self._top = folder
        self._report = report
        self._archive = archive
        self._top_entry, self._top_name = 0, b""
        self._first_names: dict[
            int, tuple[int, int, int]
        ] = {}  # its entry, and what was made: device and inode

    def copy(self, entry: int, name: str) -> None:
        """Copy an entry of the tree to `name`, with all that is in it; the content of a directory alone if that is "".

        Raises OSError, and what reading the layers raises.
        """
        tree = self._root.tree
        self._top_entry, self._top_name = entry, os.fsencode(name)
        if not tree.is_directory(entry):
            self._file(entry, self._top, name)
            return
        # what is left to do in each directory on the way: its entry, its children, and where they go
        waiting = [(entry, iter(tree.children(entry)), self._enter(self._top, name))]
        try:
            while waiting:
                at, children, folder = waiting[-1]
                child = next(children, None)
                if child is None:
                    self._finish(self._root.stat_entry(at), folder.fileno(), folder.path)
                    waiting.pop()
                    self._leave(folder)
                elif tree.is_directory(child):
                    below = self._enter(folder, os.fsdecode(tree.name(child)))
                    waiting.append((child, iter(tree.children(child)), below))
                else:
                    self._file(child, folder, os.fsdecode(tree.name(child)))
        finally:
            for _, _, folder in waiting:
                self._leave(folder)

    def _enter(self, into: Folder, name: str) -> Folder:
        """Make a directory, which gets its metadata once what is in it is made."""
        if not name:
            return into
        if not _make_way(into, name, for_directory=True):
            os.mkdir(name, 0o700, dir_fd=into.fileno())
        return into.folder(name)

    def _leave(self, folder: Folder) -> None:
        if folder is not self._top:
            folder.close()

    def _file(self, entry: int, into: Folder, name: str) -> None:
        found = self._root.stat_entry(self._root.tree.inode(entry))
        _make_way(into, name, for_directory=False)
        if found.inode in self._first_names and self._link(self._first_names[found.inode], into, name):
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
            made = into.stat(name)
            self._first_names[found.inode] = entry, made.st_dev, made.st_ino

    def _link(self, first: tuple[int, int, int], into: Folder, name: str) -> bool:
        """Give a file that was made another name; returns False if that cannot be."""
        entry, *made = first
        tree = self._root.tree
        below = tree.path(entry)[len(tree.path(self._top_entry)) :].lstrip(b"/")
        path = b"/".join(filter(None, (self._top_name, below)))
        # there may be too many links, or a directory on the way that is closed to the user
        with suppress(OSError):
            os.link(
                path, name, src_dir_fd=self._top.fileno(), dst_dir_fd=into.fileno(), follow_symlinks=False
            )
            found = into.stat(name)
            if [found.st_dev, found.st_ino] == made:
                return True
            into.unlink(name)  # another process has put a link on the way
        return False

    def _regular(self, found: Stat, into: Folder, name: str) -> None:
        fd = into.create(name, 0o600)
        with (
            _naming(into.path_of(name)),
            open(fd, "wb") as file,
            self._root.content(found.inode) as content,
        ):
            for offset, length in self._root.data_parts(found.inode):
                file.seek(offset)
                for chunk in blob_chunks(Slice(content, offset, length), len(_ZEROS)):
                    if _ZEROS.startswith(chunk):
                        file.seek(len(chunk), os.SEEK_CUR)
                    else:
                        file.write(chunk)
            file.truncate(found.size)
            file.flush()
            self._finish(found, fd, into.path_of(name))

    def _special(self, found: Stat, into: Folder, name: str) -> bool:
        device = os.makedev(*found.device) if found.device else 0
        try:
            os.mknod(name, stat.S_IFMT(found.mode), device, dir_fd=into.fileno())
        except PermissionError:
            self._report(f"skipping {into.path_of(name)}: only root can make a device")
            return False
        if self._archive:
            os.chown(name, found.uid, found.gid, dir_fd=into.fileno(), follow_symlinks=False)
        # by its descriptor, as chmod(2) follows links
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=into.fileno())
        try:
            os.chmod(f"/proc/self/fd/{fd}", self._mode(found))
        finally:
            os.close(fd)
        os.utime(name, ns=(found.mtime_ns, found.mtime_ns), dir_fd=into.fileno(), follow_symlinks=False)
        return True

    def _finish(self, found: Stat, fd: int, path: str) -> None:
        """Give an open file or directory its metadata."""
        with _naming(path):
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


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Errors of system calls on a descriptor name the path."""
    try:
        yield
    except OSError as error:
        if error.filename is None or isinstance(error.filename, int):
            error.filename = path
        raise


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
    tree, paths = root.tree, Paths(root.tree)
    top = len(tree.path(entry))
    firsts: dict[int, int] = {}  # the entry that was the first of a file with several names

    def path_of(at: int) -> bytes:
        below = paths.of(at)[top:].lstrip(b"/") if at != entry else b""
        return b"/".join(filter(None, (name, below)))

    waiting = [entry]
    while waiting:
        at = waiting.pop()
        inode = tree.inode(at)
        found = root.stat_entry(inode)
        path = path_of(at)
        if path:
            first = firsts.get(inode)
            yield from _member(root, found, path, None if first is None else path_of(first))
            if found.links > 1 and not stat.S_ISDIR(found.mode):
                firsts.setdefault(inode, at)
        waiting += reversed(tree.children(at))
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
        with PaddedBlob(root.content(found.inode)) as content:
            yield from blob_chunks(content)
        yield bytes(padded(found.size) - found.size)
