"""Trees of images and of layers: made when somebody looks, kept while there is room."""

from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Iterator
from itertools import count
from threading import Lock

from imgfs.blob import Blob
from imgfs.rootfs.loaded import LoadedTree
from imgfs.rootfs.open_layers import OpenLayers
from imgfs.rootfs.tree_cache import TreeCache
from imgfs.tar import TarBlob
from imgfs.view.image_origin import Home
from imgfs.view.node import Directory, Node, NodeTable, Origin
from imgfs.view.tree_nodes import TreeDirectory, tree_node

_KNOWN = 10_000  # tables that are remembered, loaded or not
_ENTRIES = 4_000_000  # kept in all; some 100 bytes each


class Trees:
    """The trees in memory; those not used for longest go when there are more than `limit` entries in all.

    `make` makes them. No lock here is held while anything blocks.
    """

    def __init__(self, make: TreeCache, limit: int = _ENTRIES) -> None:
        self.make = make
        self._limit = limit
        self._open_layers: defaultdict[Hashable, OpenLayers] = defaultdict(OpenLayers)
        self._lock = Lock()
        self._known: OrderedDict[str, TreeTable] = OrderedDict()
        self._tables: list[TreeTable] = []
        self.clock = count(1)

    def table(self, key: str, home: Home, mtime_ns: int = 0, only: int | None = None) -> "TreeTable":
        """The table known as `key`, made if there is none yet; as `TreeTable` otherwise."""
        with self._lock:
            table = self._known.get(key)
            if table is None:
                table = self._known[key] = TreeTable(key, self, home, mtime_ns, only)
                if len(self._known) > _KNOWN:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return table

    def keep(self, table: "TreeTable") -> None:
        """Count a table that has been loaded, and unload others for it."""
        with self._lock:
            self._tables.append(table)
            self._tables.sort(key=lambda table: table.last_used)
            while sum(table.size for table in self._tables) > self._limit and len(self._tables) > 1:
                self._tables.pop(0).unload()

    def open_layers(self, origins: Hashable) -> OpenLayers:
        """The layers of one source that are open: each has its own, so that it closes no other's."""
        with self._lock:
            return self._open_layers[origins]

    def close(self) -> None:
        """Unload all, and close the layers that are open; only that blocks."""
        with self._lock:
            for table in self._tables:
                table.unload()
            self._tables.clear()
            open_layers = list(self._open_layers.values())
        for layers in open_layers:
            layers.close()


class _Unloaded(Directory):
    """Stands for the top of a tree that is not loaded; it is looked at again when it is."""

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
    """The tree that the layers at `home` make, or if `only` is given that layer alone, known as `key`.

    `mtime_ns` is that of the top while the tree is not loaded.
    """

    def __init__(self, key: str, trees: Trees, home: Home, mtime_ns: int, only: int | None = None) -> None:
        self.key = key
        self.last_used = 0
        self.mtime_ns = mtime_ns
        self._trees = trees
        self._home = home
        self._only = only
        self._loading = Lock()
        self._loaded: LoadedTree | None = None
        self._flat_size: int | None = None

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._home.origins

    @property
    def size(self) -> int:
        """How many entries are in memory."""
        loaded = self._loaded
        return len(loaded.tree) if loaded else 0

    @property
    def known_flat_size(self) -> int | None:
        """The size of the flat tar if it is known by now."""
        return self._flat_size

    def node(self, number: int) -> Node | None:
        loaded = self._loaded
        if loaded is None:
            return None
        self.last_used = next(self._trees.clock)
        return tree_node(self, loaded, number)

    def top(self) -> Directory:
        node = self.node(0)
        return node if isinstance(node, TreeDirectory) else _Unloaded(self)

    def load(self) -> None:
        self.loaded()

    def loaded(self) -> LoadedTree:
        """The tree, made now if need be. Raises what reading the layers raises."""
        with self._loading:
            loaded = self._loaded
            if loaded is None:
                make = self._trees.make
                tree = self._home.read(lambda layers: make.tree(layers, self._only, self.key))
                loaded = LoadedTree(tree, self._open, self._trees.open_layers(self.origins))
                self._loaded = loaded
                self.last_used = next(self._trees.clock)
                self._trees.keep(self)
            return loaded

    def open_flat(self) -> Blob:
        """The flat tar; the caller closes it. Its size is known from now on. Raises as `loaded` does."""
        loaded = self.loaded()
        self._flat_size = loaded.plan.size
        return loaded.flat()

    def _open(self, number: int) -> TarBlob:
        wanted = number if self._only is None else self._only
        return self._home.read(lambda layers: layers.open_one(wanted))

    def unload(self) -> None:
        """Forget the tree; whoever uses it goes on."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.close()
