"""A tree in memory, and the layers that the content of its files comes from."""

from collections.abc import Callable
from functools import cached_property

from imgfs.blob import Blob, Slice, SparseBlob
from imgfs.errors import Corrupt
from imgfs.rootfs.open_layers import OpenLayers
from imgfs.tar import IN_PLACE, TarBlob
from imgfs.tree import FlatPlan, FlatTar, Tree

LayerOpener = Callable[[int], TarBlob]
"""Opens the tar of a layer by its number in the stack. Raises ImgfsError or OSError."""


class _InPlace(Slice):
    """A file of a layer whose tar cannot be put together, and so has no size."""

    def __init__(self, blob: Blob, offset: int, size: int) -> None:
        self.blob = blob
        self.offset = offset
        self._size = size

    def pread(self, size: int, offset: int) -> bytes:
        piece = super().pread(size, offset)
        if len(piece) < min(size, self._size - offset):
            raise Corrupt("a file that is in one copy of its layer alone, which is not there any more")
        return piece

    def try_pread(self, size: int, offset: int) -> bytes | None:
        piece = super().try_pread(size, offset)
        return None if piece is None or len(piece) < min(size, self._size - offset) else piece


class LoadedTree:
    """`tree`, and what is in its files. Safe to use from several threads, and after it was closed too."""

    def __init__(self, tree: Tree, open_layer: LayerOpener, layers: OpenLayers) -> None:
        self.tree = tree
        self._open_layer = open_layer
        self._layers = layers

    def content(self, entry: int) -> Blob:
        """What is in the regular file `entry`; the caller closes it. Raises what opening its layer raises."""
        return self._content(entry, self.layer(self.tree.layers[entry]))

    def try_content(self, entry: int) -> Blob | None:
        """Do as `content` does if the layer is open and its size known, so that nothing blocks, else answer None."""
        layer = self._layers.shared(self, self.tree.layers[entry])
        if layer is not None and layer.known_size is None:
            self._layers.leave(layer)
            return None
        return None if layer is None else self._content(entry, layer)

    def _content(self, entry: int, layer: Blob) -> Blob:
        tree = self.tree
        try:
            start, size = tree.records[entry] + tree.headers[entry], tree.stored_size(entry)
            data = Slice(layer, start, size) if start < IN_PLACE else _InPlace(layer, start, size)
        except BaseException:
            self._layers.leave(layer)
            raise
        parts = tree.sparse.get(entry)
        return data if parts is None else SparseBlob(data, parts, tree.sizes[entry])

    def layer(self, number: int) -> Blob:
        """A layer's tar; the caller closes it. Raises what opening it raises."""
        return self._layers.share(self, number, self._open_layer)

    @cached_property
    def plan(self) -> FlatPlan:
        """What the flat tar of the tree is made of."""
        return FlatPlan(self.tree)

    def flat(self) -> Blob:
        """The whole tree as a tar; the caller closes it. Layers are opened when a read gets to them."""
        return FlatTar(self.plan, self.layer)

    def close(self) -> None:
        """Let go of the layers, soon; files that are open stay readable. Never blocks."""
        self._layers.drop(self)
