"""The root file system of an image: the overlay of its layers' trees, looked into with paths as a container has them.

Nothing is read before it is asked for. Symbolic links are followed inside the root file system and never lead out of
it, as for a process that it is the root directory of.
"""

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from threading import RLock
from typing import BinaryIO, Protocol, Self, TypeVar, cast

from imgfs.blob import Blob, HeldBlob, PaddedBlob, Slice, SparseBlob
from imgfs.blob.stream import BlobStream
from imgfs.digest import DiffID
from imgfs.erofs.superblock import BLOCK
from imgfs.globs import glob_matcher
from imgfs.layers import DigestMap
from imgfs.rootfs.open_layers import OpenLayers
from imgfs.rootfs.tree_cache import TreeCache
from imgfs.store import LayerStack
from imgfs.tar.paths import MAX_NAME, MAX_PATH, steps
from imgfs.tree import AssembledBlob, ErofsPlan, Event, FlatPlan, Paths, SquashfsPlan, Tree, origins

T = TypeVar("T")
Path = str | bytes | os.PathLike[str]
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_MAX_LINKS = 40  # symbolic links followed in one path, as Linux has it


class UseLayers(Protocol):
    """Calls `work` with the layers of the image and returns what it does. Raises LayerNotFound and what it raises."""

    def __call__(self, work: Callable[[LayerStack], T], /) -> T: ...


@dataclass(frozen=True, slots=True)
class Stat:
    """What is known of a path: as in stat(2), times in nanoseconds, and where a symbolic link leads.

    `inode` is the same for all names of a file. `device` is the major and minor number of a device node.
    """

    inode: int
    mode: int
    links: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    target: str = ""
    device: tuple[int, int] | None = None
    xattrs: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ErofsPart:
    """A file that is part of an EROFS image; `layer` is the diff ID of the one whose tar it is, None if it is none.

    The caller of `open` closes what that returns; it raises what opening the layers raises.
    """

    layer: DiffID | None
    open: Callable[[], Blob]


class RootFS:
    """The root file system that layers make, or if `only` is given the tree of that layer alone, 0 being the lowest.

    Made by `trees` when it is first needed; `name` is what to call it in the log and in errors. Paths count from its
    root, with a slash before them or without. Those returned are absolute, what is not UTF-8 in them as in Python's os.
    Safe to use from several threads; files that are open stay readable after it is closed.

    Methods raise OSError as the system calls of their name do, and LayerNotFound, InvalidImage, Corrupt, StoreError or
    OSError if the layers cannot be read.
    """

    def __init__(
        self,
        use_layers: UseLayers,
        trees: TreeCache,
        name: str,
        only: int | None = None,
        open_layers: OpenLayers | None = None,
    ) -> None:
        self.name = name
        self._use_layers = use_layers
        self._trees = trees
        self._only = only
        self._open_layers = OpenLayers() if open_layers is None else open_layers
        # not functools.cached_property, whose lock is one for all objects: a source that hangs would stop all others
        self._making = RLock()
        self._tree: Tree | None = None
        self._plan: FlatPlan | None = None
        self._erofs_plans: dict[tuple[bool, bool], ErofsPlan] = {}
        self._diff_ids: tuple[object, ...] | None = None
        self._digests: dict[int, DigestMap | None] = {}

    @classmethod
    def of(cls, layers: LayerStack, trees: TreeCache, name: str, only: int | None = None) -> Self:
        """The root file system that some layers make, or if `only` is given the tree of that layer alone."""

        def use_layers(work: Callable[[LayerStack], T]) -> T:
            return work(layers)

        return cls(use_layers, trees, name, only)

    def lookup(self, path: Path, *, follow: bool = True) -> int:
        """The number of an entry of `tree`; of a symbolic link that is the last of the path, where it leads.

        With `follow` false, that is the link itself.
        """
        tree = self.tree
        text = os.fsencode(path)
        if len(text) >= MAX_PATH:
            raise _error(errno.ENAMETOOLONG, path)
        ahead, entry, links = steps(text)[::-1], 0, 0
        must_be_directory = text.endswith((b"/", b"/."))
        while ahead:
            name = ahead.pop()
            if not tree.is_directory(entry):
                raise _error(errno.ENOTDIR, path)
            if name == b"..":
                entry = tree.parents[entry]
                continue
            child = tree.lookup(entry, name)
            if child is None:
                raise _error(errno.ENAMETOOLONG if len(name) > MAX_NAME else errno.ENOENT, path)
            child = tree.inode(child)
            if stat.S_ISLNK(tree.modes[child]) and (ahead or follow or must_be_directory):
                links += 1
                if links > _MAX_LINKS:
                    raise _error(errno.ELOOP, path)
                target = tree.target(child)
                must_be_directory = must_be_directory or (not ahead and target.endswith((b"/", b"/.")))
                ahead += steps(target)[::-1]
                if target.startswith(b"/"):
                    entry = 0
            else:
                entry = child
        if must_be_directory and not tree.is_directory(entry):
            raise _error(errno.ENOTDIR, path)
        return entry

    def stat(self, path: Path, *, follow: bool = True) -> Stat:
        """What is known of a path, or with `follow` false of the symbolic link that it is."""
        return self.stat_entry(self.lookup(path, follow=follow))

    def exists(self, path: Path, *, follow: bool = True) -> bool:
        """Whether there is something at a path; not at one whose links lead in a circle."""
        _ = self.tree  # which raises if the layers cannot be read
        try:
            self.lookup(path, follow=follow)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            return False
        return True

    def listdir(self, path: Path = "/") -> list[str]:
        """The names in a directory, sorted by their bytes."""
        entry = self.lookup(path)
        if not self.tree.is_directory(entry):
            raise _error(errno.ENOTDIR, path)
        return [os.fsdecode(name) for name in self.tree.names(self.tree.children(entry))]

    def readlink(self, path: Path) -> str:
        """Where a symbolic link leads, as it says that itself."""
        entry = self.lookup(path, follow=False)
        if not stat.S_ISLNK(self.tree.modes[entry]):
            raise _error(errno.EINVAL, path)
        return os.fsdecode(self.tree.target(entry))

    def open(self, path: Path) -> BinaryIO:
        """The content of a regular file, to be read at any position; the caller closes it."""
        entry = self.lookup(path)
        mode = self.tree.modes[entry]
        if not stat.S_ISREG(mode):
            raise _error(errno.EISDIR if stat.S_ISDIR(mode) else errno.ENXIO, path)
        return cast(BinaryIO, io.BufferedReader(BlobStream(self.content(entry))))

    def walk(self) -> Iterator[tuple[str, Stat]]:
        """All paths but the root, each directory before what is in it, and what is known of them."""
        paths = Paths(self.tree)
        for entry in self.tree.walk():
            yield _shown(paths.of(entry)), self.stat_entry(self.tree.inode(entry))

    def find(self, pattern: str) -> Iterator[str]:
        """The paths that match a pattern, see `glob_matcher`, in the order of `walk`.

        One without a slash is matched against names, any other against whole paths.
        """
        whole = "/" in pattern
        matches = glob_matcher(f"/{pattern.lstrip('/')}" if whole else pattern)
        tree, paths = self.tree, Paths(self.tree)
        for entry in tree.walk():
            if matches(_shown(paths.of(entry)) if whole else os.fsdecode(tree.name(entry))):
                yield _shown(paths.of(entry))

    def which(self, path: Path) -> list[Event]:
        """What each layer did to a path, bottom first; nothing for layers that left it as it was.

        Symbolic links on the way to it are followed, as they are in the root file system of the layers up to there.
        """

        def events(layers: LayerStack) -> list[Event]:
            return origins(os.fsencode(path), self._trees.each(layers, self.name))

        return self._use_layers(events)

    @property
    def tree(self) -> Tree:
        """All entries, in columns. Blocks until it is made, and never again."""
        if self._tree is None:
            with self._making:
                if self._tree is None:
                    self._tree = self._use_layers(self._make_tree)
        return self._tree

    def _make_tree(self, layers: LayerStack) -> Tree:
        if self._only is None:
            return self._trees.merged(layers, self.name)
        return self._trees.layer(layers, self._only, self.name)

    def stat_entry(self, entry: int) -> Stat:
        """What is known of an entry of `tree`, the first name of its file."""
        tree = self.tree
        mode = tree.modes[entry]
        return Stat(
            entry,
            mode,
            tree.links[entry],
            tree.uids[entry],
            tree.gids[entry],
            tree.sizes[entry],
            tree.mtimes[entry],
            os.fsdecode(tree.target(entry)) if stat.S_ISLNK(mode) else "",
            tree.devices.get(entry),
            tree.xattrs.get(entry) or {},
        )

    def place(self, entry: int) -> object:
        """Where an entry of `tree` comes from, equal for what is the same; None for a directory that no layer has."""
        tree = self.tree
        layer = tree.layers[entry]
        if self._diff_ids is None:
            self._diff_ids = self._find_diff_ids()
        if layer >= len(self._diff_ids):
            return None
        return self._diff_ids[layer], tree.copies.get(layer), tree.records[entry]

    def _find_diff_ids(self) -> tuple[object, ...]:
        diff_ids = self._use_layers(lambda layers: layers.diff_ids)
        return diff_ids if self._only is None else diff_ids[self._only : self._only + 1]

    def content(self, entry: int) -> Blob:
        """The content of the regular file `entry`, the first name of its file; the caller closes it."""
        return self._content(entry, self._layer(self.tree.layers[entry]))

    def digest(self, entry: int) -> bytes | None:
        """The sha256 digest of the content of the regular file `entry`, None if it is not known without reading that.

        It is known where the layer has an index, or a table of contents, that has digests of files.
        """
        tree = self.tree
        number = tree.layers[entry]
        if number not in self._digests:
            wanted, copy = number if self._only is None else self._only, tree.copies.get(number)
            self._digests[number] = self._use_layers(lambda layers: layers.file_digests(wanted, copy))
        digests = self._digests[number]
        return digests.at(tree.records[entry]) if digests is not None and tree.stored_size(entry) else None

    def data_parts(self, entry: int) -> list[tuple[int, int]]:
        """Where the content of a regular file has data, as (offset, length) in order; the rest is zeros."""
        parts = self.tree.sparse.get(entry)
        return [(0, self.tree.sizes[entry])] if parts is None else parts

    def try_content(self, entry: int) -> Blob | None:
        """Do as `content` does if the layer is open and its size known, so that nothing blocks, else return None."""
        layer = self._open_layers.shared(self, self.tree.layers[entry])
        if layer is not None and layer.known_size is None:
            self._open_layers.leave(layer)
            return None
        try:
            return None if layer is None else self._content(entry, layer, may_block=False)
        except BlockingIOError:
            return None

    def _content(self, entry: int, layer: Blob, *, may_block: bool = True) -> Blob:
        tree = self.tree
        start, size = tree.records[entry] + tree.headers[entry], tree.stored_size(entry)
        with ExitStack() as undo:
            undo.callback(self._open_layers.leave, layer)
            held = layer.hold(start, size, may_block=may_block)
            if held is not None:
                undo.callback(held.close)
            data: Blob = Slice(layer, start, size)
            undo.pop_all()
        if held is not None:
            data = HeldBlob(data, held)
        parts = tree.sparse.get(entry)
        return data if parts is None else SparseBlob(data, parts, tree.sizes[entry])

    def _layer(self, number: int) -> Blob:
        """The content of a layer's files; the caller closes it."""
        return self._open_layers.share(self, number, self._open_layer)

    def _open_layer(self, number: int) -> Blob:
        wanted, copy = number if self._only is None else self._only, self.tree.copies.get(number)
        return self._use_layers(lambda layers: layers.open_content(wanted, copy))

    @property
    def flat_plan(self) -> FlatPlan:
        """What the flat tar is made of."""
        with self._making:
            self._plan = self._plan or FlatPlan(self.tree)
            return self._plan

    def flat_tar(self) -> Blob:
        """All of it as one tar, as `docker export` gives it; the caller closes it. Layers are opened as it is read.

        Of a single layer, it is the layer's tar, whiteouts among its members. Files that change meanwhile are padded or
        cut to the size that they had.
        """
        return AssembledBlob(self.flat_plan, self._padded_layer)

    def erofs_plan(self, *, with_layers: bool = False, links_inside: bool = False) -> ErofsPlan:
        """What the EROFS image of it is made of, see `ErofsPlan`, which may raise InvalidImage."""
        with self._making:
            plan = self._erofs_plans.get((with_layers, links_inside))
            if plan is None:
                plan = ErofsPlan(self.tree, with_layers=with_layers, links_inside=links_inside)
                self._erofs_plans[with_layers, links_inside] = plan
            return plan

    def erofs_image(self, plan: ErofsPlan) -> Blob:
        """The EROFS image of which `plan` is; the caller closes it. As `flat_tar` otherwise."""
        return AssembledBlob(plan, self._padded_layer)

    def squashfs_image(self) -> Blob:
        """All of it as a SquashFS image; the caller closes it. As `flat_tar` otherwise.

        What the format has no room for is left out, see `imgfs.tree.squashfs_plan`. Raises InvalidImage as that does.
        """
        return AssembledBlob(SquashfsPlan(self.tree), self._padded_layer)

    def erofs_parts(self, *, links_inside: bool = False) -> list[ErofsPart]:
        """An EROFS image in parts: its metadata, then what this refers to as devices. Raises as `erofs_plan` does."""
        plan = self.erofs_plan(with_layers=True, links_inside=links_inside)
        diff_ids = self._use_layers(lambda layers: layers.diff_ids)
        parts = [ErofsPart(None, lambda: AssembledBlob(plan.metadata, self._layer))]
        for layer, start, blocks in plan.devices:
            if layer is not None:
                parts.append(ErofsPart(diff_ids[layer], partial(self._layer, layer)))
            else:
                parts.append(ErofsPart(None, partial(self._erofs_rest, plan, start * BLOCK, blocks * BLOCK)))
        return parts

    def _erofs_rest(self, plan: ErofsPlan, start: int, size: int) -> Blob:
        return Slice(AssembledBlob(plan, self._layer), start, size)

    def _padded_layer(self, number: int) -> Blob:
        return PaddedBlob(self._layer(number))

    def close(self) -> None:
        """Let go of the layers that are open; those are closed with the last file. Never blocks."""
        self._open_layers.drop(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
        self._open_layers.close()


def _shown(path: bytes) -> str:
    return os.fsdecode(b"/" + path)


def _error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), path)
