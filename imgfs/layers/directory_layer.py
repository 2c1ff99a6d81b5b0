"""A layer that is kept as the files that it unpacks to, and has no tar, as of a snapshot or of a container."""

import errno
import os
from array import array
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Protocol

import msgspec

from imgfs.blob import Blob, Root, blob_chunks
from imgfs.blob.file_tree import FileTree
from imgfs.blob.held_files import HeldFiles
from imgfs.digest import ChainID, DiffID
from imgfs.errors import FileChanged, StoreError, quoted
from imgfs.layers.directory_diff import changed_members
from imgfs.layers.directory_scan import DirectoryScan, ScannedMembers, scan_of, scanned_members
from imgfs.layers.layer import check_copy
from imgfs.layers.member_list import MemberList
from imgfs.layers.overlay_members import TRUSTED
from imgfs.layers.owner_map import OwnerMap, mapped
from imgfs.tar import TarBlob
from imgfs.tar.split import FileExtent, Split, SplitTar
from imgfs.tree import Tree, build_tree

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # ELOOP: it is a symbolic link now


@dataclass(slots=True)
class Scan:
    """What was found where a layer is kept.

    `packed` are its members, for `MemberList`; `copy` differs where something else was found. `open` opens what the
    members hold; it takes the name of the layer, for errors, and raises ImgfsError or OSError.
    """

    packed: bytes
    copy: str
    open: Callable[[str], Blob]


class Place(Protocol):
    """Where a layer is kept without a tar."""

    def scan(self, *, is_bottom: bool) -> Scan:
        """What is there now; where `is_bottom`, there is no layer below. Raises ImgfsError or OSError."""


class DirectoryPlace(msgspec.Struct, frozen=True):
    """The name, below `root`, of the directory of a layer's files.

    `prefix` begins the names of the attributes of overlayfs there, see `scanned_members`. Where it `is_live`, as a
    container's own may be, files may be written to while they are read. If `below` is the name of another directory,
    both hold whole root file systems, and the layer is what that one lacks. `owners` are the user namespaces that its
    files belong to, each in the one before it.
    """

    root: Root
    name: str
    prefix: str = TRUSTED
    is_live: bool = False
    below: str | None = None
    owners: tuple[OwnerMap, ...] = ()

    def scan(self, *, is_bottom: bool) -> Scan:
        """As of `Place`. Raises what `scanned_members` and `changed_members` raise."""
        members = self._members(is_bottom=is_bottom)
        found = scan_of(mapped(members, self.owners) if self.owners else members)
        packed, found.packed = found.packed, b""
        return Scan(packed, found.copy, partial(self._open, found))

    def _members(self, *, is_bottom: bool) -> ScannedMembers:
        below = self.below
        if below is None:
            return scanned_members(self.root, self.name, self.prefix, is_bottom=is_bottom)
        with closing(FileTree(self.root, self.name)) as own, closing(FileTree(self.root, below)) as other:
            return changed_members(
                lambda: scanned_members(self.root, below, is_bottom=True),
                lambda: scanned_members(self.root, self.name, is_bottom=True),
                lambda name: _are_same(own, other, name),
            )

    def _open(self, found: DirectoryScan, name: str) -> Blob:
        files = _Files(name, found.inodes, None if self.is_live else found.mtimes_ns)
        split = Split(found.recipe, name, files)
        return SplitTar(lambda: split, FileTree(self.root, self.name), found.recipe.size)


@dataclass(slots=True)
class DirectoryLayer:
    """A `Layer` that `locate` finds at each call; it raises ImgfsError or OSError if the layer is not there.

    `read_size` reads the size of its files where the engine records one; it raises OSError. `why` says why there is no
    tar of it. `label` is what to call it in messages, if not by its diff ID.
    """

    chain_id: ChainID
    diff_id: DiffID
    parent: ChainID | None
    locate: Callable[[], Place]
    read_size: Callable[[ChainID], int | None] = lambda _: None
    why: str = "it is kept as a directory"
    label: str = ""
    has_tar: ClassVar[bool] = False
    may_have_tar: ClassVar[bool] = False
    known_size: ClassVar[int | None] = None
    is_verified: ClassVar[bool] = False
    _scan: Scan | None = field(default=None, init=False)  # the newest

    def look_for_size(self) -> int | None:
        return None

    def listed_size(self) -> int | None:
        return self.read_size(self.chain_id)

    def open(self) -> TarBlob:
        raise StoreError(f"{self._name}: there is no tar of it: {self.why}")

    def tree(self) -> Tree:
        scan = self._scanned()
        tree = build_tree(MemberList(scan.packed), self._name)
        scan.packed = b""
        tree.copies[0] = scan.copy
        return tree

    def open_content(self, copy: str | None = None) -> Blob:
        scan = self._scan
        if scan is None or scan.copy != copy:
            scan = self._scanned()
            scan.packed = b""
            check_copy(self, scan.copy, copy)
        return scan.open(self._name)

    def _scanned(self) -> Scan:
        self._scan = scan = self.locate().scan(is_bottom=self.parent is None)
        return scan

    @property
    def _name(self) -> str:
        return self.label or f"layer {self.diff_id}"


def _are_same(one: FileTree, other: FileTree, name: bytes) -> bool:
    """Whether the file `name` has the same content in both."""
    with one.open(name) as first, other.open(name) as second:
        pairs = zip(blob_chunks(first), blob_chunks(second), strict=False)
        return first.size == second.size and all(here == there for here, there in pairs)


class _Files(msgspec.Struct, frozen=True):
    """Reads the files of a scan; those that are others than they were then are errors.

    `mtimes_ns` is None where files may be written to.
    """

    name: str
    inodes: "array[int]"
    mtimes_ns: "array[int] | None"

    def read(
        self, files: HeldFiles, extent: FileExtent, start: int, end: int, *, may_block: bool = True
    ) -> bytes:
        """As `LooseFiles.read`, but there is no checksum to compare with. Raises FileChanged where files may change."""
        is_live = self.mtimes_ns is None
        text = f"{self.name}: file {quoted(extent.name)} has changed since its directory was read"
        try:
            with files.open(extent.name, may_block=may_block) as file:
                is_same = self._is_same(file, extent)
                data = file.pread(end - start, start) if may_block else file.try_pread(end - start, start)
        except BlockingIOError:
            raise
        except StoreError:  # it is no regular file any more, or became shorter right now
            if is_live:
                raise FileChanged(text, b"") from None
            raise
        except OSError as error:
            if is_live and error.errno in _GONE:
                raise FileChanged(f"{self.name}: file {quoted(extent.name)} is gone", b"") from error
            why = f"{self.name}: file {quoted(extent.name)} cannot be read: {error.strerror}"
            raise StoreError(why) from error
        if data is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if not is_same:
            raise FileChanged(text, data) if is_live else StoreError(text)
        return data

    def hold(self, files: HeldFiles, extent: FileExtent, *, may_block: bool = True) -> Blob | None:
        """As `LooseFiles.hold`; None also for a file that is another or cannot be read, which reading it reports."""
        try:
            held = files.hold(extent.name, may_block=may_block)
        except BlockingIOError:
            raise
        except (StoreError, OSError):
            return None
        if held is not None and not self._is_same(held, extent):
            held.close()
            return None
        return held

    def _is_same(self, file: Blob, extent: FileExtent) -> bool:
        stamp, number = file.stamp(), extent.number
        if stamp is None or stamp.inode != self.inodes[number]:
            return False
        if self.mtimes_ns is None:
            return stamp.size >= extent.size
        return (stamp.size, stamp.mtime_ns) == (extent.size, self.mtimes_ns[number])
