"""Trees of images and of layers: made when they are looked into, kept while there is room."""

import errno
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from threading import Lock
from typing import Protocol, TypeVar

from imgfs.lru import LRU
from imgfs.rootfs import OpenLayers, RootFS, TreeCache
from imgfs.store import LayerStack
from imgfs.view.erofs_files import erofs_files
from imgfs.view.node import Directory, File, Node, NodeTable, Origin
from imgfs.view.tree_nodes import TreeDirectory, tree_node

T = TypeVar("T")

_KNOWN = 10_000  # tables that are remembered, loaded or not
_ENTRIES = 4_000_000  # kept in all; some 100 bytes each


class Trees:
    """The tables of one mount, and the trees that are loaded: at most `limit` entries, or one tree that has more.

    `cache` makes trees; `links_inside` is that of all tables. No lock here is held while anything blocks.
    """

    def __init__(self, cache: TreeCache, limit: int = _ENTRIES, *, links_inside: bool = False) -> None:
        self.cache = cache
        self.links_inside = links_inside
        self.loaded: LRU[TreeTable, RootFS] = LRU(limit, weigh=lambda root: len(root.tree))
        self._known: LRU[str, TreeTable] = LRU(_KNOWN)
        self._open_layers: defaultdict[Hashable, OpenLayers] = defaultdict(OpenLayers)
        self._lock = Lock()

    def table(
        self,
        key: str,
        origin: "TreeOrigin",
        mtime_ns: int = 0,
        only: int | None = None,
        *,
        once: bool = False,
    ) -> "TreeTable":
        """The table known as `key`, made if there is none yet; as `TreeTable` otherwise."""
        with self._lock:
            table = self._known.get(key)
            if table is None:
                table = TreeTable(key, self, origin, mtime_ns, only, once=once)
                self._known.put(key, table)
            return table

    def drop(self, table: "TreeTable") -> None:
        """Unload a table that is not wanted any more. Never blocks."""
        root = self.loaded.pop(table)
        if root is not None:
            root.close()

    def open_layers(self, origins: Hashable) -> OpenLayers:
        """The layers of one source that are open: each has its own, so that it closes no other's."""
        with self._lock:
            return self._open_layers[origins]

    def close(self) -> None:
        """Unload all, and close the layers that are open; only that blocks."""
        for root in self.loaded.pop_all():
            root.close()
        with self._lock:
            open_layers = list(self._open_layers.values())
        for layers in open_layers:
            layers.close()


class TreeOrigin(Protocol):
    """Where the layers of a tree are read from: `ImageOrigin`, or that of a container."""

    @property
    def origins(self) -> tuple[Origin, ...]:
        """What reading them may have to wait for. Never blocks."""

    def read(self, work: Callable[[LayerStack], T]) -> T:
        """What `work` returns for the layers. May block. Raises ImgfsError or OSError."""


class _Unloaded(Directory):
    """Stands for the top of a tree that is not loaded; it is looked up again when it is."""

    mutable = True

    def __init__(self, table: "TreeTable") -> None:
        self.table = table
        self.key = table.key
        self.mtime_ns = table.mtime_ns

    def lookup(self, name: bytes) -> Node | None:
        return None

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        yield from ()


class TreeTable(NodeTable):
    """The tree that the layers of `origin` make, or if `only` is given that layer alone, known as `key`.

    `mtime_ns` is that of the top while the tree is not loaded. With `once`, the layers may have changed when they are
    read again, so the tree is loaded only once: after it is unloaded, it `is_stale`.
    """

    def __init__(
        self,
        key: str,
        trees: Trees,
        origin: TreeOrigin,
        mtime_ns: int,
        only: int | None = None,
        *,
        once: bool = False,
    ) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self.links_inside = trees.links_inside
        self._trees = trees
        self._origin = origin
        self._only = only
        self._once = once
        self._was_loaded = False
        self._loading = Lock()
        self.sizes: dict[str, int] = {}
        """The sizes of what the tree has been shown as, such as a tar, by what that is called."""

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._origin.origins

    @property
    def is_stale(self) -> bool:
        """Whether the tree cannot be loaded any more."""
        return self._once and self._was_loaded and self._trees.loaded.get(self) is None

    def node(self, number: int) -> Node | None:
        root = self._trees.loaded.get(self)
        return None if root is None else tree_node(self, root, number)

    def lacks_xattrs(self, number: int) -> bool:
        root = self._trees.loaded.get(self)
        return root is not None and number not in root.tree.xattrs

    def top(self) -> Directory:
        node = self.node(0)
        return node if isinstance(node, TreeDirectory) else _Unloaded(self)

    def load(self) -> None:
        self.root()

    @property
    def place(self) -> str | None:
        return None if self._once or self._only is not None else self.key

    def erofs_files(self) -> list[File]:
        return erofs_files(self.root(), self)

    def root(self) -> RootFS:
        """The root file system, its tree made now if need be. Raises what reading the layers raises.

        If the table is stale, raises OSError ESTALE, on which the kernel looks names up again.
        """
        trees = self._trees
        with self._loading:
            root = trees.loaded.get(self)
            if root is None:
                if self._once and self._was_loaded:
                    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), self.key)
                open_layers = trees.open_layers(self.origins)
                root = RootFS(self._origin.read, trees.cache, self.key, self._only, open_layers)
                for dropped in trees.loaded.put(self, root):  # which makes the tree, to weigh it
                    dropped.close()
                self._was_loaded = True
            return root
