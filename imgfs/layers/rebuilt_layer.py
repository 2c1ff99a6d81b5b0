"""A layer whose tar is not kept, but is made of its files again where that gives the diff ID.

Many tars hold nothing but what their files say, in an order and a form that depend on the program alone; see
`go_writer`. Each that is known is tried, and what came of that is kept in the cache with the state of the files.
"""

import hashlib
from dataclasses import dataclass, field
from threading import Lock
from typing import ClassVar
from weakref import ReferenceType, ref

from imgfs.blob import Blob, blob_chunks
from imgfs.digest import ChainID, DiffID
from imgfs.errors import StoreError
from imgfs.layers.directory_layer import DirectoryLayer
from imgfs.layers.index_store import IndexStore, Rebuilt
from imgfs.tar import ScannedTar, TarBlob
from imgfs.tar.go_writer import WRITERS, Writer
from imgfs.tree import AssembledBlob, Tree
from imgfs.tree.rebuilt import RebuiltPlan, why_not

_OTHER = "the tar that is made of them is another"


@dataclass
class _Made:
    """A tar that has the diff ID, made of the files in the state `copy`."""

    plan: RebuiltPlan
    copy: str


@dataclass(slots=True)
class RebuiltLayer:
    """A `Layer` that is kept as `files`; `indexes` keeps what is known of its tar. Safe to use from several threads."""

    files: DirectoryLayer
    indexes: IndexStore
    has_tar: ClassVar[bool] = False
    _failure: str = field(default="", init=False, compare=False)
    _size: int | None = field(default=None, init=False, compare=False)
    # while a tar is open: it takes memory for each header
    _made: ReferenceType[_Made] | None = field(default=None, init=False, compare=False)
    _lock: Lock = field(default_factory=Lock, init=False, compare=False)

    @property
    def chain_id(self) -> ChainID:
        return self.files.chain_id

    @property
    def diff_id(self) -> DiffID:
        return self.files.diff_id

    @property
    def parent(self) -> ChainID | None:
        return self.files.parent

    @property
    def may_have_tar(self) -> bool:
        return not self._failure

    @property
    def known_size(self) -> int | None:
        return self._size

    @property
    def is_verified(self) -> bool:
        return self.files.is_verified

    def look_for_size(self) -> int | None:
        if self._size is None and not self._failure:
            known = self.indexes.rebuilt(self.diff_id)
            self._size = known.size if known is not None and known.writer is not None else None
        return self._size

    def listed_size(self) -> int | None:
        return self.files.listed_size()

    def tree(self) -> Tree:
        return self.files.tree()

    def open_content(self, copy: str | None = None) -> Blob:
        return self.files.open_content(copy)

    def open(self) -> TarBlob:
        with self._lock:
            made = None if self._made is None else self._made()
            if made is None:
                made = self._make()
                self._made = ref(made)
                self._size = made.plan.size
        held = made  # by what is returned
        return ScannedTar(AssembledBlob(held.plan, lambda _: self.files.open_content(held.copy)))

    def _make(self) -> _Made:
        """A tar that has the diff ID. Raises StoreError if there is none, and what reading the files raises."""
        if not self._failure:
            tree = self.files.tree()
            copy = tree.copies[0]
            plan = self._find(tree, copy)
            if plan is not None:
                return _Made(plan, copy)
        raise StoreError(
            f"layer {self.diff_id}: there is no tar of it: {self.files.why}, and {self._failure}"
        )

    def _find(self, tree: Tree, copy: str) -> RebuiltPlan | None:
        """The tar of a tree; None, and `_failure` says why, if that is not known. Raises what reading files raises."""
        why = why_not(tree)
        if why is None:
            known = self.indexes.rebuilt(self.diff_id)
            if known is not None and known.copy == copy:
                names = {writer.name: writer for writer in WRITERS}
                writer = names.get(known.writer or "")
                if writer is not None:
                    return RebuiltPlan(tree, writer)
            else:
                for writer in WRITERS:
                    plan = RebuiltPlan(tree, writer)
                    if self._is_right(plan, copy):
                        self._note(copy, writer, plan.size)
                        return plan
                self._note(copy, None, 0)
        self._failure = why or _OTHER
        return None

    def _is_right(self, plan: RebuiltPlan, copy: str) -> bool:
        digest = hashlib.new(self.diff_id.algorithm)
        with AssembledBlob(plan, lambda _: self.files.open_content(copy)) as tar:
            for chunk in blob_chunks(tar):
                digest.update(chunk)
        return digest.hexdigest() == self.diff_id.hex

    def _note(self, copy: str, writer: Writer | None, size: int) -> None:
        self.indexes.keep_rebuilt(self.diff_id, Rebuilt(copy, writer.name if writer else None, size))
