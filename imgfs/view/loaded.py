"""A tree in memory, and the layers that the content of its files comes from.

Layers are opened when the first of their files is, and shared by all files from then on.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from threading import Lock

from imgfs.blob import Blob, SharedBlob, Slice, SparseBlob
from imgfs.tar import FlatPlan, FlatTar, TarBlob, Tree

LayerOpener = Callable[[int], TarBlob]
"""Opens the tar of a layer by its number in the stack. Raises ImgfsError or OSError."""


class LoadedTree:
    """`tree`, and what is in its files. Safe to use from several threads, and after it was closed, at a cost."""

    def __init__(self, tree: Tree, open_layer: LayerOpener) -> None:
        self.tree = tree
        self._open_layer = open_layer
        self._lock = Lock()
        self._layers: dict[int, SharedBlob] = {}
        self._closed = False

    def has_open(self, entry: int) -> bool:
        """Whether the layer that has a file's content is open."""
        return self.tree.layers[entry] in self._layers

    def content(self, entry: int) -> Blob:
        """What is in the regular file `entry`; the caller closes it. Raises what opening its layer raises."""
        tree = self.tree
        layer = self.layer(tree.layers[entry])
        try:
            parts = tree.sparse.get(entry)
            stored = tree.sizes[entry] if parts is None else sum(length for _, length in parts)
            data = Slice(layer, tree.records[entry] + tree.headers[entry], stored)
        except BaseException:
            layer.close()
            raise
        return data if parts is None else SparseBlob(data, parts, tree.sizes[entry])

    def layer(self, number: int) -> Blob:
        """A layer's tar; the caller closes it. Raises what opening it raises."""
        with self._lock:
            if self._closed:
                return self._open_layer(number)
            shared = self._layers.get(number)
            if shared is None:
                shared = self._layers[number] = SharedBlob(self._open_layer(number))
            return shared.share()

    @cached_property
    def plan(self) -> FlatPlan:
        """What the flat tar of the tree is made of."""
        return FlatPlan(self.tree)

    def flat(self) -> Blob:
        """The whole tree as a tar; the caller closes it. Layers are opened when a read gets to them."""
        return FlatTar(self.plan, self.layer)

    def close(self) -> None:
        """Let go of the layers; files that are open stay readable."""
        with self._lock:
            self._closed = True
            layers: Sequence[SharedBlob] = list(self._layers.values())
            self._layers.clear()
        for shared in layers:
            shared.close()
