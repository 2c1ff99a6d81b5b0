"""A directory in which overlayfs keeps one layer, read as the members of that layer's tar would be.

Attributes that begin with `trusted.overlay.` can be read by root alone. No symbolic link is followed.
"""

import hashlib
import os
import stat
from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

from imgfs.blob import Root
from imgfs.blob.link_reader import LinkReader
from imgfs.errors import StoreError
from imgfs.layers.member_list import MemberPacker
from imgfs.layers.overlay_members import TRUSTED, USER, LayerFile, overlay_members
from imgfs.tar import Member
from imgfs.tar.fields import BLOCK
from imgfs.tar.split import Recipe

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
    Raises StoreError if attributes cannot be read that matter, if the layer refers to other places of lower layers, or,
    with a PermissionError as its cause, if this user may not read something; OSError if anything else cannot be read.
    """
    if prefix == TRUSTED and not is_bottom and not can_read_trusted():
        raise StoreError(
            f"{root.path_of(name)}: only root can read which of its directories hide those of lower layers "
            f"(the attribute {TRUSTED}opaque)"
        )

    def path_of(path: bytes) -> str:
        return root.path_of(_below(name, path))

    return overlay_members(_files(root, name), prefix, path_of)


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
    return bool(int(effective, 16) & _SYS_ADMIN) and _is_in_first_namespace()


def prefix_of(store: Root) -> str:
    """How overlayfs marks files in a store: USER if it is mounted by an ordinary user, who is root in `podman unshare`.

    Raises OSError.
    """
    return USER if store.stat().st_uid or not _is_in_first_namespace() else TRUSTED


def _is_in_first_namespace() -> bool:
    has_namespaces = os.path.exists("/proc/self/ns/user")
    return not has_namespaces or os.stat("/proc/self/ns/user").st_ino == _FIRST_USER_NAMESPACE


def _files(root: Root, name: str) -> Iterator[LayerFile[os.stat_result]]:
    """All below a directory, in the order that `overlay_members` takes."""
    waiting = [b""]
    with closing(LinkReader(root, name)) as links:
        while waiting:
            path = full = waiting.pop()
            fd = -1
            try:
                fd = root.descriptor(_below(name, path), _LIST)
                yield LayerFile(path, os.fstat(fd), _xattrs(f"/proc/self/fd/{fd}", follow=True))
                for inner in sorted(os.fsencode(each) for each in os.listdir(fd)):
                    full = path + b"/" + inner if path else inner
                    status = os.stat(inner, dir_fd=fd, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(full)
                        continue
                    target = links.read(fd, path, inner) if stat.S_ISLNK(status.st_mode) else b""
                    xattrs = _xattrs(f"/proc/self/fd/{fd}/{os.fsdecode(inner)}", follow=False)
                    yield LayerFile(full, status, xattrs, target)
            except PermissionError as error:
                denied = PermissionError(error.errno, error.strerror, os.fsdecode(full))
                raise StoreError(f"{root.path_of(_below(name, full))}: {error.strerror}") from denied
            finally:
                if fd >= 0:
                    os.close(fd)


def _xattrs(path: str, *, follow: bool) -> dict[bytes, bytes]:
    names = os.listxattr(path, follow_symlinks=follow)
    return {os.fsencode(name): os.getxattr(path, name, follow_symlinks=follow) for name in names}


def _below(name: str, path: bytes) -> str:
    if not path:
        return name
    return f"{name}/{os.fsdecode(path)}" if name else os.fsdecode(path)
