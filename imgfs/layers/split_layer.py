"""A layer as Docker and containers-storage keep it: its files in a directory, and a tar-split to make its tar from.

Parsed tar-splits stay in memory, the least recently used going first; they are found again by the file they
were read from.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Lock
from typing import ClassVar

from imgfs.blob import FileBlob, Root
from imgfs.blob.file_tree import FileTree
from imgfs.blob.stamp import FileStamp
from imgfs.digest import ChainID, DiffID, Digest
from imgfs.errors import Corrupt
from imgfs.layers.hashing import digest_of
from imgfs.layers.layer import check_copy
from imgfs.layers.member_list import MemberList, MemberPacker
from imgfs.lru import LRU
from imgfs.tar import Member, TarBlob
from imgfs.tar.split import Naming, Split, SplitTar, parse_recipe
from imgfs.tree import Tree, build_tree

logger = logging.getLogger("imgfs")

_LIMIT = 128 << 20  # bytes of memory; a thousand members take about 100 kB
# a tar-split of these sizes, as stored and as text, is parsed in some milliseconds
_SMALL, _SMALL_TEXT = 64 << 10, 2 << 20

ReadNames = Callable[[], Naming | None]


def _as_in_the_tar() -> None:
    """The `read_names` of a layer whose files are named as its tar has them."""


class Splits:
    """The parsed tar-splits of a source, `limit` bytes of them. Safe to use from several threads."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._parsed: LRU[FileStamp, Split] = LRU(limit, lambda split: split.recipe.footprint)
        self._parsing = Lock()  # parsing holds the interpreter anyway

    def load(self, blob: FileBlob, name: str, read_names: ReadNames = _as_in_the_tar) -> Split:
        """The split that is stored in `blob`, parsed now if it is not in memory; closes `blob`.

        `read_names` is as `SplitPlace` has it. Raises Corrupt naming `name`, or what reading raises.
        """
        with blob:
            stamp = blob.stamp()
            split = self._parsed.get(stamp)
            if split is None:
                with self._parsing:
                    split = self._parsed.get(stamp)
                    if split is None:
                        split = Split(parse_recipe(blob, name, read_names()), name)
                        self._parsed.put(stamp, split)
            return split


def _is_small(blob: FileBlob) -> bool:
    """Whether parsing a tar-split takes no noticeable time, by the size that gzip records (RFC 1952, ISIZE)."""
    if blob.size > _SMALL:
        return False
    return int.from_bytes(blob.pread(4, max(0, blob.size - 4)), "little") <= _SMALL_TEXT


@dataclass(frozen=True, slots=True)
class SplitPlace:
    """The names, below `root`, of the tar-split's file and the directory of the layer's files.

    The files are below `files_root` if that is given. `size` is the tar's where it is recorded. `read_names` reads how
    the files are named: it returns a function from a member's name to its file's, None where they are the same.
    """

    root: Root
    tar_split: str
    files: str
    size: int | None = None
    files_root: Root | None = None
    read_names: ReadNames = _as_in_the_tar

    def open_tar_split(self) -> FileBlob:
        """The tar-split as it is stored. Raises StoreError or OSError."""
        return self.root.open(self.tar_split)

    def open_files(self) -> FileTree:
        """The layer's files. Raises StoreError or OSError."""
        return FileTree(self.files_root or self.root, self.files)


@dataclass(slots=True)
class SplitLayer:
    """A `Layer` that `locate` finds by its chain ID at each call; it raises what `Layer.open` does.

    `read_size` reads the size of its files, by its chain ID, where the engine records one; it raises OSError.
    """

    chain_id: ChainID
    diff_id: DiffID
    parent: ChainID | None
    locate: Callable[[ChainID], SplitPlace]
    splits: Splits
    read_size: Callable[[ChainID], int | None] = lambda _: None
    has_tar: ClassVar[bool] = True
    may_have_tar: ClassVar[bool] = True
    _size: int | None = field(default=None, init=False)
    _listed_size: int | None = field(default=None, init=False)
    _has_no_size: bool = field(default=False, init=False)  # without reading all of it
    _digest: Digest | None = field(default=None, init=False)  # of a tar that was doubtful

    @property
    def known_size(self) -> int | None:
        return self._size

    def look_for_size(self) -> int | None:
        if self._size is None and not self._has_no_size:
            self._size = self._look()
            self._has_no_size = self._size is None
        return self._size

    def listed_size(self) -> int | None:
        if self._listed_size is None:
            size = self.read_size(self.chain_id)
            self._listed_size = self.look_for_size() if size is None else size
        return self._listed_size

    def _look(self) -> int | None:
        place = self.locate(self.chain_id)
        if place.size is not None:
            return place.size
        stored = place.open_tar_split()
        if not _is_small(stored):
            stored.close()
            return None
        try:
            split = self.splits.load(stored, self._name, place.read_names)
        except Corrupt:  # raised again when it is opened
            return None
        return None if split.recipe.doubtful else split.recipe.size

    def open(self) -> TarBlob:
        place = self.locate(self.chain_id)
        tree, stored = self._opened(place)
        return SplitTar(
            lambda: self.splits.load(stored, self._name, place.read_names),
            tree,
            self._size or place.size,
            lambda split: self._check(split, place),
            stored,
        )

    def tree(self) -> Tree:
        members, copy = self._members()
        tree = build_tree(members, self._name)
        if copy is not None:
            tree.copies[0] = copy
        return tree

    def open_content(self, copy: str | None = None) -> TarBlob:
        if copy is None:
            return self.open()
        place = self.locate(self.chain_id)
        tree, stored = self._opened(place, copy)
        return SplitTar(
            lambda: self.splits.load(stored, self._name, place.read_names), tree, None, stored=stored
        )

    def _opened(self, place: SplitPlace, copy: str | None = None) -> tuple[FileTree, FileBlob]:
        """The layer's files and its tar-split. Raises StoreError if a `copy` is wanted that this is not."""
        with ExitStack() as undo:
            tree = place.open_files()
            undo.callback(tree.close)
            stored = undo.enter_context(place.open_tar_split())
            if copy is not None:
                check_copy(self, _copy(stored), copy)
            undo.pop_all()
        return tree, stored

    def members(self) -> Sequence[Member]:
        """Every member of the tar, in order; of a damaged tar, those before the damage, which is logged.

        Of a tar that cannot be assembled, the members that its tar-split describes.
        """
        return self._members()[0]

    def _members(self) -> tuple[Sequence[Member], str | None]:
        """The members, and if their offsets are not in the layer's tar, the copy that they are in."""
        place = self.locate(self.chain_id)
        stored = place.open_tar_split()
        packer, copy = MemberPacker(stored.size), _copy(stored)
        split = self.splits.load(stored, self._name, place.read_names)
        if not split.recipe.doubtful:
            self._check(split, place)
        try:
            packer.add(split.members_in_place() if split.recipe.doubtful else split.members())
        except Corrupt as error:
            logger.warning("%s: not all of its members can be read: %s", self._name, error)
        return MemberList(packer.finish()), copy if split.recipe.doubtful else None

    @property
    def is_verified(self) -> bool:
        return False

    @property
    def _name(self) -> str:
        return f"layer {self.diff_id}"

    def _check(self, split: Split, place: SplitPlace) -> None:
        """Raise Corrupt if what a split makes is not the layer's tar."""
        size = split.recipe.size
        if place.size not in (None, size):
            raise Corrupt(f"{self._name}: its tar has {size} bytes where {place.size} are recorded")
        if split.recipe.doubtful:
            self._verify(split, place)
        self._size = size

    def _verify(self, split: Split, place: SplitPlace) -> None:
        if self._digest is None:
            with SplitTar(lambda: split, place.open_files(), None) as tar:
                self._digest = digest_of(tar, self.diff_id.algorithm)
        if self._digest != self.diff_id:
            raise Corrupt(f"{self._name}: failed to verify, what its tar-split makes is {self._digest}")


def _copy(tar_split: FileBlob) -> str:
    """Names the copy of a layer whose files are placed by a tar-split."""
    return "tar-split " + ".".join(map(str, tar_split.stamp()))
