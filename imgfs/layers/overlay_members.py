"""Files of a layer as overlayfs keeps them, made into the members that the layer's tar would have.

Format: Documentation/filesystems/overlayfs.rst. A whiteout is a character device 0/0, or, in a directory whose
attribute `opaque` is `x`, an empty file with the attribute `whiteout`; a directory whose `opaque` is `y` hides what
lower layers have in it. These become whiteouts as the OCI image specification names them. The attributes begin with
`trusted.overlay.`, or with `user.overlay.` where an ordinary user mounts. The names of one file are known by its inode.
Knows nothing of where the files are. Tried by the tests of `directory_scan`.
"""

import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, Protocol, TypeVar

from imgfs.errors import StoreError
from imgfs.tar import Member
from imgfs.tar.member import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    HARDLINK,
    REGULAR,
    TYPES,
    member_of_file,
)
from imgfs.tar.paths import MAX_NAME
from imgfs.tree.whiteouts import OPAQUE, WHITEOUT

logger = logging.getLogger("imgfs")

TRUSTED, USER = "trusted.overlay.", "user.overlay."
"""How the names of the attributes begin by which overlayfs marks files of a layer."""


class Status(Protocol):
    """What is used of `os.stat_result`."""

    @property
    def st_mode(self) -> int: ...
    @property
    def st_ino(self) -> int: ...
    @property
    def st_dev(self) -> int: ...
    @property
    def st_nlink(self) -> int: ...
    @property
    def st_uid(self) -> int: ...
    @property
    def st_gid(self) -> int: ...
    @property
    def st_rdev(self) -> int: ...
    @property
    def st_size(self) -> int: ...
    @property
    def st_mtime_ns(self) -> int: ...


S = TypeVar("S", bound=Status)


class LayerFile(NamedTuple, Generic[S]):
    """A name in a layer: its path without a slash before it, empty for the root; `target` is a symbolic link's."""

    path: bytes
    status: S
    xattrs: Mapping[bytes, bytes]
    target: bytes = b""


def overlay_members(
    files: Iterable[LayerFile[S]], prefix: str, path_of: Callable[[bytes], str]
) -> Iterator[tuple[Member, S]]:
    """A member for each file, and the status of the file; `path_of` gives paths for messages.

    Each directory is followed by the other files in it, before what is in directories in it. A file that has the name
    of a whiteout is literal; it is skipped with a warning where there is that whiteout, too. Raises StoreError if the
    layer refers to other places of lower layers, and what going through `files` raises.
    """
    first_names: dict[tuple[int, int], bytes] = {}  # of files that have several
    markers, literal, skipped = set[bytes](), set[bytes](), set[bytes]()  # paths
    has_marked_files = False

    def hidden(before: bytes, name: bytes, status: S) -> Member:
        member = hiding(before, name, status, as_device=before + WHITEOUT + name in literal)
        markers.add(member.name)
        return member

    for path, status, attributes, target in files:
        xattrs, marks = _marks(attributes, prefix)
        kind = TYPES.get(stat.S_IFMT(status.st_mode))
        before, name = path[: path.rfind(b"/") + 1], path[path.rfind(b"/") + 1 :]
        for key in ("redirect", "metacopy"):
            if key in marks:
                raise StoreError(
                    f"{path_of(path)}: what it shows lies elsewhere in lower layers ({prefix}{key}), which imgfs does "
                    "not follow"
                )
        is_literal = name.startswith(WHITEOUT)
        if before[:-1] in skipped or (is_literal and path in markers):
            logger.warning("%s is skipped: it has the name of a whiteout that is there, too", path_of(path))
            if kind == DIRECTORY:
                skipped.add(path)
        elif kind == DIRECTORY:
            if is_literal:
                literal.add(path)
            yield _member(path, status, kind, xattrs, is_literal=is_literal), status
            opaque = marks.get("opaque")
            has_marked_files = opaque == b"x"
            if opaque == b"y" and path:
                markers.add(path + b"/" + OPAQUE)
                yield _marker(path + b"/" + OPAQUE, status), status
        elif kind is None:
            logger.debug("%s: a socket is left out", path_of(path))
        elif (kind == CHARACTER_DEVICE and status.st_rdev == 0) or (
            has_marked_files and "whiteout" in marks and kind == REGULAR and not status.st_size
        ):
            yield hidden(before, name, status), status
        elif is_literal:
            # never as another name of a file: that would be no name of its own
            literal.add(path)
            yield _member(path, status, kind, xattrs, target, is_literal=True), status
        else:
            if status.st_nlink > 1:
                first = first_names.setdefault((status.st_dev, status.st_ino), path)
                if first != path:
                    kind, target = HARDLINK, first
            yield _member(path, status, kind, xattrs, target), status


def hiding(before: bytes, name: bytes, status: Status, *, as_device: bool = False) -> Member:
    """The whiteout of what lower layers call `name`, in the directory whose path with a slash is `before`.

    It is a device, as the kernel has it, where the name of a file would be too long, or if it is so wanted.
    """
    if len(WHITEOUT + name) <= MAX_NAME and not as_device:
        marker = _marker(before + WHITEOUT + name, status)
        marker.mode = 0o600  # as Docker writes it; Podman has 0
        return marker
    device = _member(before + name, status, CHARACTER_DEVICE, {})
    device.devmajor = device.devminor = 0
    return device


def _marks(attributes: Mapping[bytes, bytes], prefix: str) -> tuple[dict[bytes, bytes], dict[str, bytes]]:
    """The attributes of a file, and those of overlayfs by their keys."""
    xattrs: dict[bytes, bytes] = {}
    marks: dict[str, bytes] = {}
    for name, value in attributes.items():
        text = os.fsdecode(name)
        if text.startswith((prefix, TRUSTED)):
            marks[text.removeprefix(prefix)] = value
        else:
            xattrs[name] = value
    return xattrs, marks


def _marker(path: bytes, status: Status) -> Member:
    return _member(path, status, REGULAR, {}, size=0)


def _member(
    path: bytes,
    status: Status,
    kind: bytes,
    xattrs: dict[bytes, bytes],
    linkname: bytes = b"",
    size: int | None = None,
    *,
    is_literal: bool = False,
) -> Member:
    """What a tar would say of a file; its place is not known yet."""
    if size is None:
        size = status.st_size if kind == REGULAR else 0
    device = status.st_rdev if kind in (CHARACTER_DEVICE, BLOCK_DEVICE) else 0
    return member_of_file(
        kind,
        path or b"./",
        linkname,
        mode=status.st_mode,
        uid=status.st_uid,
        gid=status.st_gid,
        size=size,
        mtime_ns=status.st_mtime_ns,
        device=(os.major(device), os.minor(device)),
        xattrs=xattrs or None,
        is_adjusted=True,
        is_literal=is_literal,
    )
