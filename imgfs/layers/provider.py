"""A layer provider over the layers that a source finds.

Counts references; owns no bytes. A layer refers to the one below it, as in moby's layer store, so a layer is
free only when neither an image nor a layer above it holds it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from threading import Lock

from imgfs.digest import ChainID, DiffID
from imgfs.errors import ImgfsError, LayerNotFound
from imgfs.layers.choice import LayerChoice
from imgfs.layers.layer import Layer, LayerMetadata


class LayerRegistry:
    """Layers by chain ID, reference counted; a `LayerProvider`.

    `find` returns a layer that is not in use yet, or raises LayerNotFound. All users of a layer share one object,
    until it is renewed. `elsewhere`, if it is set, finds other copies of a layer by its diff ID, which are read where
    the layer itself cannot be.
    """

    elsewhere: Callable[[DiffID], Iterable[Layer]] | None = None

    def __init__(self, find: Callable[[ChainID], Layer]) -> None:
        self._find = find
        self._taken: dict[ChainID, tuple[Layer, int]] = {}
        self._choices: dict[ChainID, LayerChoice] = {}
        self._lock = Lock()

    def get(self, chain_id: ChainID) -> Layer:
        with self._lock:
            layer = self._take(chain_id)
            return layer if self.elsewhere is None else self._with_others(layer, self.elsewhere)

    def taken(self, chain_id: ChainID) -> Layer | None:
        # without the lock, which is held while layers are found
        layer, _ = self._taken.get(chain_id, (None, 0))
        return self._choices.get(chain_id, layer)

    def release(self, layer: Layer) -> list[LayerMetadata]:
        with self._lock:
            return list(self._drop(layer.chain_id))

    def renew(self) -> None:
        """Replace layers in use by what `find` returns for them now."""
        with self._lock:
            for chain_id, (_, count) in self._taken.items():
                with suppress(ImgfsError):  # gone; its users keep what they have
                    self._taken[chain_id] = (self._find(chain_id), count)

    def references(self) -> dict[ChainID, int]:
        """How many images, streams and layers above it hold each layer in use."""
        with self._lock:
            return {chain_id: count for chain_id, (_, count) in self._taken.items()}

    def peek(self, chain_id: ChainID) -> Layer:
        return self._find(chain_id)

    def _with_others(self, layer: Layer, find_others: Callable[[DiffID], Iterable[Layer]]) -> Layer:
        choice = self._choices.get(layer.chain_id)
        if choice is None or choice.first is not layer:
            choice = LayerChoice(layer, partial(find_others, layer.diff_id))
            self._choices[layer.chain_id] = choice
        return choice

    def _take(self, chain_id: ChainID) -> Layer:
        missing: list[Layer] = []
        wanted: ChainID | None = chain_id
        while wanted is not None and wanted not in self._taken:
            layer = self._find(wanted)
            if layer.chain_id != wanted or len(missing) > _DEEPEST:
                raise LayerNotFound(f"layer {chain_id}: its stack does not end")
            missing.append(layer)
            wanted = layer.parent
        for layer in missing:
            self._taken[layer.chain_id] = (layer, 0)
        # one reference for the caller, and one of each newly taken layer on the layer below it
        for held in [chain_id, *(layer.parent for layer in missing)]:
            if held is not None:
                layer, count = self._taken[held]
                self._taken[held] = (layer, count + 1)
        return self._taken[chain_id][0]

    def _drop(self, chain_id: ChainID | None) -> Iterator[LayerMetadata]:
        while chain_id is not None:
            if chain_id not in self._taken:
                raise ImgfsError(f"layer {chain_id} was released more often than taken")
            layer, count = self._taken[chain_id]
            if count > 1:
                self._taken[chain_id] = (layer, count - 1)
                return
            del self._taken[chain_id]
            self._choices.pop(chain_id, None)
            yield LayerMetadata(layer.chain_id, layer.diff_id, layer.parent, layer.known_size)
            chain_id = layer.parent


_DEEPEST = 10_000  # far above any engine's limit (overlay2: 128); stops a stack that leads back to itself
