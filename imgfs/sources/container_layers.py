"""The layers of a container: those of its image as a provider has them, and its own above them.

A layer of its own has no tar whose digest could be its name, so it has a diff ID that stands for the container and its
place, and is never verified. Tried by the tests of each source that finds containers.
"""

from dataclasses import dataclass, field

from imgfs.blob.stamp import FileStamp
from imgfs.digest import ChainID, DiffID
from imgfs.layers import (
    DirectoryLayer,
    DirectoryPlace,
    ErofsPlace,
    Indexer,
    Layer,
    LayerMetadata,
    LayerProvider,
    chain_ids,
)
from imgfs.sources.finder import FoundContainer


@dataclass(frozen=True, slots=True)
class OwnLayer:
    """A `LayerRef` of a layer that is a container's own, with its files at `place`.

    `stamp` is of something that changes whenever the engine mounts the layer, None where there is nothing such.
    """

    place: DirectoryPlace | ErofsPlace = field(compare=False)
    name: str
    stamp: FileStamp | None

    @classmethod
    def at(cls, place: DirectoryPlace | ErofsPlace, mounted: str | None = None) -> "OwnLayer":
        """The layer at a place; mounting it changes the file `mounted` below the same root. Raises OSError."""
        stamp = None if mounted is None else FileStamp.of(place.root.stat(mounted))
        return cls(place, place.root.path_of(place.name), stamp)

    @property
    def key(self) -> tuple[str, FileStamp | None]:
        return self.name, self.stamp

    def resolve(self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, indexer: Indexer) -> Layer:
        why, label = "it is a container's own", f"layer {self.name}"
        return DirectoryLayer(chain_id, diff_id, parent, lambda: self.place, why=why, label=label)


class ContainerLayers:
    """A `LayerProvider` of the layers of a container; `image_layers` has those of its image.

    Its own layers are looked at once, and stay what they were then. Raises what `LayerRef.resolve` raises.
    """

    def __init__(self, found: FoundContainer, image_layers: LayerProvider, indexer: Indexer) -> None:
        self._image_layers = image_layers
        self._own: dict[ChainID, Layer] = {}
        names = (f"layer {number} of container {found.container.id}" for number in range(len(found.own)))
        own = [DiffID.of(name.encode("utf-8", "surrogateescape")) for name in names]
        self.diff_ids = (*found.diff_ids, *own)
        """The diff ID of each layer, bottom first."""
        stack = list(chain_ids(self.diff_ids))
        below = [None, *stack][len(found.diff_ids) :]
        for ref, diff_id, parent, chain_id in zip(
            found.own, own, below, stack[len(found.diff_ids) :], strict=False
        ):
            self._own[chain_id] = ref.resolve(chain_id, diff_id, parent, indexer)

    def get(self, chain_id: ChainID) -> Layer:
        return self._own.get(chain_id) or self._image_layers.get(chain_id)

    def peek(self, chain_id: ChainID) -> Layer:
        return self._own.get(chain_id) or self._image_layers.peek(chain_id)

    def taken(self, chain_id: ChainID) -> Layer | None:
        return self._own.get(chain_id) or self._image_layers.taken(chain_id)

    def release(self, layer: Layer) -> list[LayerMetadata]:
        return [] if layer.chain_id in self._own else self._image_layers.release(layer)
