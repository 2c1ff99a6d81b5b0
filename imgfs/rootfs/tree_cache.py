"""Trees made once: that of each layer, which all images share that have it, and the overlays of them.

Those that are worth it are found in the cache the next time. A tree is kept under the diff ID of its layer, or chain ID
of its layers, if what it was made of was compared with that and any copy of it has its files in the same places; else
under the layer itself, for as long as it is in use.
"""

import logging
from collections.abc import Hashable, Iterator

from imgfs.budget import SMALL
from imgfs.cache import Cache
from imgfs.digest import ChainID, DiffID
from imgfs.errors import Corrupt, InvalidImage
from imgfs.layers import Layer, stored_size
from imgfs.layers.passing_tar import log_damage
from imgfs.lru import LRU
from imgfs.store import LayerStack
from imgfs.tree import Tree, dump_tree, load_tree, overlay_trees

logger = logging.getLogger("imgfs")

_WORTH_IT = 1000  # entries; fewer are made in a few milliseconds
_MOST_OF_SMALL = (
    1_500_000  # entries of all layers of an image that is stored in fewer bytes than `budget.SMALL`
)
_KEPT = 250_000  # entries of layers' trees that are kept in memory for other images


class TreeCache:
    """Makes trees, and keeps them in `cache` if there is one. Safe to use from several threads.

    `name` is what to call the image in the log and in errors. Every method raises what reading the layers raises, and
    InvalidImage naming the image and the layer if a tree is beyond a limit.
    """

    def __init__(self, cache: Cache | None) -> None:
        self._cache = cache
        # with the layers of unverified trees, so that their IDs stay theirs
        self._layers: LRU[Hashable, tuple[Tree, Layer | None]] = LRU(_KEPT, weigh=lambda value: len(value[0]))

    def merged(self, layers: LayerStack, name: str) -> Tree:
        """The root file system that some layers make."""
        numbers = range(len(layers.chain_ids))
        key = layers.chain_ids[-1] if len(numbers) > 1 and layers.has_tars else None
        tree = self._find(key, "tree", name, len(numbers)) if key is not None else None
        if tree is None:
            tree = overlay_trees(self.each(layers, name), name)
            if key is not None and not tree.copies and all(map(layers.is_verified, numbers)):
                self._keep(key, "tree", tree)
        return tree

    def each(self, layers: LayerStack, name: str) -> Iterator[Tree]:
        """The tree of each layer alone, bottom first.

        Several layers that are small each could make a large process, so there is a limit on all together.
        """
        sizes = [layers.use(number, stored_size) for number in range(len(layers.diff_ids))]
        small = [size for size in sizes if size is not None and size < SMALL]
        left = _MOST_OF_SMALL if len(small) == len(sizes) and sum(small) < SMALL else None
        for number in range(len(sizes)):
            tree = self.layer(layers, number, name)
            if left is not None and (left := left - len(tree)) < 0:
                raise InvalidImage(
                    f"{name}: layer {number}: more than {_MOST_OF_SMALL} entries in all layers, which are stored in "
                    f"{sum(small)} bytes"
                )
            yield tree

    def layer(self, layers: LayerStack, number: int, name: str) -> Tree:
        """The tree of one layer alone, counted from the bottom, with whiteouts as files."""
        return layers.use(number, lambda layer: self._layer(layer, name))

    def _layer(self, layer: Layer, name: str) -> Tree:
        keys = (layer.diff_id, id(layer)) if layer.has_tar else (id(layer),)
        for key in keys:
            if found := self._layers.get(key):
                return found[0]
        tree = self._find(layer.diff_id, "layer-tree", name, 1) if layer.has_tar else None
        if tree is not None:
            self._share(layer.diff_id, tree)
            return tree
        try:
            tree = layer.tree()
        except InvalidImage as error:
            where = f"layer {layer.diff_id}"
            text = str(error) if where in str(error) else f"{where}: {error}"
            raise type(error)(f"{name}: {text}") from error
        if layer.is_verified and not tree.copies:
            self._keep(layer.diff_id, "layer-tree", tree)
            self._share(layer.diff_id, tree)
        else:
            self._share(id(layer), tree, layer)  # it may not be what its diff ID says, or of this copy alone
        return tree

    def _share(self, key: Hashable, tree: Tree, layer: Layer | None = None) -> None:
        if len(tree) <= _KEPT:
            self._layers.put(key, (tree, layer))

    def _keep(self, key: ChainID | DiffID, kind: str, tree: Tree) -> None:
        if self._cache is not None and len(tree) >= _WORTH_IT:
            self._cache.keep(key, kind, lambda file: dump_tree(tree, file))

    def _find(self, key: ChainID | DiffID, kind: str, name: str, layers: int) -> Tree | None:
        file = self._cache.open(key, kind) if self._cache is not None else None
        if self._cache is None or file is None:
            return None
        try:
            with file:
                tree = load_tree(file, layers)
            for number, damage in tree.damaged.items():
                log_damage(f"{name}: layer {number}", damage)
            return tree
        except Corrupt as error:
            logger.info("%s is merged again: %s", name, error)
            self._cache.discard(key, kind)
            return None
