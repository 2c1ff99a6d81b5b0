"""Trees made once: that of each layer, which all images share that have it, and the overlays of them.

Those that are worth it are found in the cache the next time.
"""

import ctypes
import logging
from collections import OrderedDict
from contextlib import suppress
from threading import Lock

from imgfs.cache import Cache
from imgfs.digest import ChainID, DiffID
from imgfs.errors import Corrupt, InvalidImage
from imgfs.store import LayerStack
from imgfs.tree import Tree, build_tree, dump_tree, load_tree, overlay_trees

logger = logging.getLogger("imgfs")

_WORTH_IT = 1000  # entries; fewer are made in a few milliseconds
_KEPT = 250_000  # entries of layers' trees that are kept in memory for other images


class TreeCache:
    """Makes trees, and keeps them in `cache` if there is one. Safe to use from several threads."""

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache
        self._lock = Lock()
        self._layers: OrderedDict[DiffID, Tree] = OrderedDict()
        self._entries = 0

    def tree(self, layers: LayerStack, only: int | None, name: str) -> Tree:
        """The root file system that some layers make, or if `only` is given the tree of that layer alone.

        `name` is what to call the image in the log and in errors. Raises what reading the layers raises, and
        InvalidImage naming the image and the layer if it is beyond a limit.
        """
        if only is not None:
            return self.layer_tree(layers, only, name)
        numbers = range(len(layers.chain_ids))
        key = layers.chain_ids[-1] if numbers else None
        tree = self._find(key, "tree", name) if key is not None else None
        if tree is None:
            tree = overlay_trees((self.layer_tree(layers, number, name) for number in numbers), name)
            if key is not None and len(numbers) > 1 and all(map(layers.is_verified, numbers)):
                self._keep(key, "tree", tree)
            if len(tree) >= _WORTH_IT:
                _give_memory_back()
        return tree

    def layer_tree(self, layers: LayerStack, number: int, name: str) -> Tree:
        """The tree of one layer alone, with whiteouts as files. Parameters and errors as for `tree`."""
        key = layers.diff_ids[number]
        with self._lock:
            tree = self._layers.get(key)
            if tree is not None:
                self._layers.move_to_end(key)
                return tree
        tree = self._find(key, "layer-tree", name)
        if tree is None:
            where = f"layer {key}"
            try:
                tree = build_tree(layers.members_of(number), f"{name}: {where}")
            except InvalidImage as error:
                text = str(error) if where in str(error) else f"{where}: {error}"
                raise type(error)(f"{name}: {text}") from error
            if not layers.is_verified(number):
                return tree  # it may be another than its diff ID says
            self._keep(key, "layer-tree", tree)
        self._share(key, tree)
        return tree

    def _share(self, key: DiffID, tree: Tree) -> None:
        with self._lock:
            if key in self._layers or len(tree) > _KEPT:
                return
            self._layers[key] = tree
            self._entries += len(tree)
            while self._entries > _KEPT:
                self._entries -= len(self._layers.popitem(last=False)[1])

    def _keep(self, key: ChainID | DiffID, kind: str, tree: Tree) -> None:
        if self._cache is not None and len(tree) >= _WORTH_IT:
            self._cache.keep(key, kind, lambda file: dump_tree(tree, file))

    def _find(self, key: ChainID | DiffID, kind: str, name: str) -> Tree | None:
        file = self._cache.open(key, kind) if self._cache is not None else None
        if self._cache is None or file is None:
            return None
        try:
            with file:
                return load_tree(file)
        except Corrupt as error:
            logger.info("%s is merged anew: %s", name, error)
            self._cache.discard(key, kind)
            return None


def _give_memory_back() -> None:
    """Return what merging took to the system; glibc would keep more of it than the tree takes, for this thread."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
