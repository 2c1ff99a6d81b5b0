"""The root file system of an image, merged, for commands that look into it without a mount."""

from collections.abc import Iterator
from contextlib import contextmanager

from imgfs.cli.common import cache
from imgfs.digest import ImageID
from imgfs.sources.union import Snapshot
from imgfs.store import LayerStack
from imgfs.view.loaded import LoadedTree
from imgfs.view.open_layers import OpenLayers
from imgfs.view.tree_cache import TreeCache


def layers_of(snapshot: Snapshot, image_id: ImageID) -> LayerStack:
    """The layers of an image, in the source that has them all if any has."""
    return snapshot.source_of(image_id).store.layers(image_id)


@contextmanager
def merged(snapshot: Snapshot, image_id: ImageID) -> Iterator[LoadedTree]:
    """What a container of the image would see. Raises what reading the layers raises."""
    layers = layers_of(snapshot, image_id)
    tree = TreeCache(cache()).tree(layers, None, f"image {image_id}")
    loaded = LoadedTree(tree, layers.open_one, OpenLayers())
    try:
        yield loaded
    finally:
        loaded.close()
