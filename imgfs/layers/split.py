"""A layer as Docker and containers-storage keep it: its files in a directory, and a tar-split to make its tar with.

Parsed tar-splits stay in memory, the least recently used going first; they are found again by the file they
were read from.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from imgfs.blob import FileBlob
from imgfs.blob.tree import FileTree
from imgfs.digest import ChainID, DiffID
from imgfs.errors import Corrupt, ImgfsError
from imgfs.tar import Member, TarBlob
from imgfs.tar.split_tar import Split, SplitTar
from imgfs.tar.tar_split import parse_tar_split

_LIMIT = 128 << 20  # bytes of memory; a thousand members take about 100 kB
_SMALL = 32 << 10  # a tar-split of this size is parsed in a few milliseconds

_Key = tuple[int, ...]


class Splits:
    """The parsed tar-splits of a source, `limit` bytes of them. Safe to use from several threads."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._kept: OrderedDict[_Key, Split] = OrderedDict()
        self._lock = Lock()
        self._turn = Lock()  # parsing holds the interpreter anyway

    def load(self, blob: FileBlob, name: str) -> Split:
        """The split that is stored in `blob`, parsed now if it is not at hand; closes `blob`.

        Raises Corrupt naming `name`, or what reading raises.
        """
        with blob:
            key = _identity(blob)
            split = self._find(key)
            if split is None:
                with self._turn:
                    split = self._find(key)
                    if split is None:
                        split = Split(parse_tar_split(blob, name), name)
                        self._keep(key, split)
            return split

    def _find(self, key: _Key) -> Split | None:
        with self._lock:
            split = self._kept.get(key)
            if split is not None:
                self._kept.move_to_end(key)
            return split

    def _keep(self, key: _Key, split: Split) -> None:
        with self._lock:
            self._kept[key] = split
            room = self._limit - sum(kept.table.footprint for kept in self._kept.values())
            while room < 0 and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                room += dropped.table.footprint


@dataclass(frozen=True, slots=True)
class SplitPlace:
    """The tar-split's file and the directory of the layer's files; `size` is the tar's where it is recorded."""

    tar_split: str
    files: str
    size: int | None = None


@dataclass(slots=True)
class SplitLayer:
    """A `Layer` that `locate` finds, anew at each call; it raises what `Layer.open` does."""

    chain_id: ChainID
    diff_id: DiffID
    parent: ChainID | None
    locate: Callable[[], SplitPlace]
    splits: Splits
    _size: int | None = field(default=None, init=False)

    @property
    def known_size(self) -> int | None:
        if self._size is None:
            try:
                place = self.locate()
                if place.size is not None or os.stat(place.tar_split).st_size > _SMALL:
                    return place.size
                self._load(FileBlob(place.tar_split), place)
            except (ImgfsError, OSError):  # whoever opens it will be told
                return None
        return self._size

    def open(self) -> TarBlob:
        place = self.locate()
        tree = FileTree(place.files)
        stored = FileBlob(place.tar_split)
        return SplitTar(lambda: self._load(stored, place), tree, self._size or place.size)

    def members(self) -> Sequence[Member]:
        place = self.locate()
        return self._load(FileBlob(place.tar_split), place).members()

    def _load(self, stored: FileBlob, place: SplitPlace) -> Split:
        name = f"layer {self.diff_id}"
        split = self.splits.load(stored, name)
        if place.size not in (None, split.table.size):
            raise Corrupt(f"{name}: its tar has {split.table.size} bytes where {place.size} are recorded")
        self._size = split.table.size
        return split


def _identity(blob: FileBlob) -> _Key:
    status = os.fstat(blob.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
