"""A directory in which overlayfs keeps one layer, read as the members of that layer's tar would be.

Format: Documentation/filesystems/overlayfs.rst. A whiteout is a character device 0/0, or, in a directory whose
attribute `opaque` is `x`, an empty file with the attribute `whiteout`; a directory whose `opaque` is `y` hides what
lower layers have in it. These become whiteouts as the OCI image specification names them. The names of one file are
told by its inode. The attributes begin with `trusted.overlay.`, which only root can read, or with `user.overlay.`
where an ordinary user mounts. No symbolic link is followed.
"""

import hashlib
import logging
import os
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from imgfs.blob import Root
from imgfs.errors import StoreError
from imgfs.layers.member_list import MemberPacker
from imgfs.tar import Member
from imgfs.tar.fields import BLOCK
from imgfs.tar.member import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    HARDLINK,
    REGULAR,
    SYMLINK,
    TYPES,
)
from imgfs.tar.paths import MAX_NAME
from imgfs.tar.split import Recipe
from imgfs.tree.whiteouts import OPAQUE, WHITEOUT

logger = logging.getLogger("imgfs")

TRUSTED, USER = "trusted.overlay.", "user.overlay."
"""How the names of the attributes begin by which overlayfs marks files of a layer."""
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SYS_ADMIN = 1 << 21  # CAP_SYS_ADMIN, capabilities(7)
_FIRST_USER_NAMESPACE = 0xEFFFFFFD  # its inode, include/linux/proc_ns.h


@dataclass(slots=True)
class DirectoryScan:
    """What `scan_of` found.

    `packed` are its members, for `MemberList`; their offsets are those in `recipe`, which has a block for each member
    and its content behind that. `inodes` and `mtimes_ns` are of the files of the recipe, by number. `copy` differs
    for directories that differ.
    """

    recipe: Recipe = field(default_factory=Recipe)
    inodes: "array[int]" = field(default_factory=lambda: array("Q"))
    mtimes_ns: "array[int]" = field(default_factory=lambda: array("q"))
    packed: bytes = b""
    copy: str = ""


ScannedMembers = Iterator[tuple[Member, os.stat_result]]
"""A member for each file, each directory before what is in it, and the status that it was made from."""


def scanned_members(
    root: Root, name: str, prefix: str = TRUSTED, *, is_bottom: bool = False
) -> ScannedMembers:
    """The metadata of all below the directory `name` of `root`.

    `prefix` is TRUSTED or USER. Where `is_bottom`, there is no layer below, so what it would hide does not matter.
    Raises StoreError if attributes cannot be read that matter, or if the layer refers to other places of lower layers;
    OSError if something cannot be read.
    """
    if prefix == TRUSTED and not is_bottom and not can_read_trusted():
        raise StoreError(
            f"{root.path_of(name)}: only root can read which of its directories hide those of lower layers "
            f"(the attribute {TRUSTED}opaque)"
        )
    return _Walk(root, name, prefix).members()


def scan_of(members: ScannedMembers) -> DirectoryScan:
    """Some members, each given its place. Raises Corrupt if there are too many, and what going through them raises."""
    scan, packer, seen = DirectoryScan(), MemberPacker(), hashlib.sha256()
    for member, status in members:
        member.offset = member.header_offset = scan.recipe.size
        scan.recipe.add_literal(bytes(BLOCK))  # so that no two members are in one place
        member.data_offset = scan.recipe.size
        if member.size:
            scan.recipe.add_file(member.name, member.size, 0)
            scan.inodes.append(status.st_ino)
            scan.mtimes_ns.append(status.st_mtime_ns)
        values = (
            member.name,
            member.type,
            member.size,
            status.st_ino,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
        seen.update(repr(values).encode())
        packer.add([member])
    scan.recipe.finish()
    scan.packed = packer.finish()
    scan.copy = f"directory {seen.hexdigest()}"
    return scan


def can_read_trusted() -> bool:
    """Whether this process is shown attributes that begin with `trusted.`: without an error, others are not."""
    with open("/proc/thread-self/status", encoding="ascii", errors="replace") as file:
        effective = next((line.split()[1] for line in file if line.startswith("CapEff:")), "0")
    has_namespaces = os.path.exists("/proc/self/ns/user")
    is_first = not has_namespaces or os.stat("/proc/self/ns/user").st_ino == _FIRST_USER_NAMESPACE
    return bool(int(effective, 16) & _SYS_ADMIN) and is_first


class _Walk:
    """Goes through a directory; each directory comes before what is in it."""

    def __init__(self, root: Root, name: str, prefix: str) -> None:
        self._root = root
        self._name = name
        self._prefix = prefix
        self._first_names: dict[tuple[int, int], bytes] = {}  # of files that have several

    def members(self) -> ScannedMembers:
        """As `scanned_members`."""
        waiting = [b""]
        while waiting:
            path = waiting.pop()
            fd = self._root.descriptor(self._below(path), _LIST)
            try:
                xattrs, marks = self._attributes(f"/proc/self/fd/{fd}", path, follow=True)
                status = os.fstat(fd)
                yield _member(path, status, DIRECTORY, xattrs), status
                opaque = marks.get("opaque")
                if opaque == b"y" and path:
                    yield _marker(path + b"/" + OPAQUE, status), status
                names = sorted(os.fsencode(name) for name in os.listdir(fd))
                for name in names:
                    inner = path + b"/" + name if path else name
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(inner)
                        continue
                    member = self._file(fd, name, inner, status, has_marked_files=opaque == b"x")
                    if member is not None:
                        yield member, status
            finally:
                os.close(fd)

    def _file(
        self, fd: int, name: bytes, path: bytes, status: os.stat_result, *, has_marked_files: bool
    ) -> Member | None:
        """The member for a file that is no directory; None for what no layer has."""
        kind = TYPES.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            logger.debug("%s: a socket is left out", self._root.path_of(self._below(path)))
            return None
        if kind == CHARACTER_DEVICE and status.st_rdev == 0:
            return hiding(path[: len(path) - len(name)], name, status)
        xattrs, marks = self._attributes(f"/proc/self/fd/{fd}/{os.fsdecode(name)}", path, follow=False)
        if has_marked_files and "whiteout" in marks and kind == REGULAR and not status.st_size:
            return hiding(path[: len(path) - len(name)], name, status)
        if name.startswith(WHITEOUT):
            where = self._root.path_of(self._below(path))
            logger.warning("%s is skipped: a file with the name of a whiteout", where)
            return None
        if status.st_nlink > 1:
            first = self._first_names.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                return _member(path, status, HARDLINK, xattrs, first)
        target = os.readlink(name, dir_fd=fd) if kind == SYMLINK else b""
        return _member(path, status, kind, xattrs, target)

    def _attributes(
        self, link: str, path: bytes, *, follow: bool
    ) -> tuple[dict[bytes, bytes], dict[str, bytes]]:
        """The attributes of a file, and those of overlayfs by their keys. Raises StoreError for some of those."""
        xattrs: dict[bytes, bytes] = {}
        marks: dict[str, bytes] = {}
        for name in os.listxattr(link, follow_symlinks=follow):
            value = os.getxattr(link, name, follow_symlinks=follow)
            if name.startswith((self._prefix, TRUSTED)):
                marks[name.removeprefix(self._prefix)] = value
            else:
                xattrs[os.fsencode(name)] = value
        for key in ("redirect", "metacopy"):
            if key in marks:
                where = self._root.path_of(self._below(path))
                raise StoreError(
                    f"{where}: what it shows lies elsewhere in lower layers ({self._prefix}{key}), which imgfs does "
                    "not follow"
                )
        return xattrs, marks

    def _below(self, path: bytes) -> str:
        if not path:
            return self._name
        return f"{self._name}/{os.fsdecode(path)}" if self._name else os.fsdecode(path)


def hiding(before: bytes, name: bytes, status: os.stat_result) -> Member:
    """The whiteout of what lower layers call `name`, in the directory whose path with a slash is `before`."""
    if len(WHITEOUT + name) <= MAX_NAME:
        return _marker(before + WHITEOUT + name, status)
    device = _member(
        before + name, status, CHARACTER_DEVICE, {}
    )  # as the kernel has it, where that is too long
    device.devmajor = device.devminor = 0
    return device


def _marker(path: bytes, status: os.stat_result) -> Member:
    return _member(path, status, REGULAR, {}, size=0)


def _member(
    path: bytes,
    status: os.stat_result,
    kind: bytes,
    xattrs: dict[bytes, bytes],
    linkname: bytes = b"",
    size: int | None = None,
) -> Member:
    """What a tar would say of a file; its place is not known yet."""
    if size is None:
        size = status.st_size if kind == REGULAR else 0
    device = status.st_rdev if kind in (CHARACTER_DEVICE, BLOCK_DEVICE) else 0
    return Member(
        offset=0,
        header_offset=0,
        data_offset=0,
        stored_size=size,
        size=size,
        type=kind,
        name=path or b"./",
        linkname=linkname,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        uname=b"",
        gname=b"",
        mtime_ns=status.st_mtime_ns,
        devmajor=os.major(device),
        devminor=os.minor(device),
        xattrs=xattrs or None,
        is_adjusted=True,
    )
