"""The root file system of an image, merged, for commands that look into it without a mount."""

from collections.abc import Iterator
from contextlib import contextmanager

from imgfs.cli.opening import cache
from imgfs.digest import ImageID
from imgfs.rootfs.loaded import LoadedTree
from imgfs.rootfs.open_layers import OpenLayers
from imgfs.rootfs.tree_cache import TreeCache
from imgfs.sources.union import Snapshot
from imgfs.store import LayerStack
from imgfs.tree import Tree


def layers_of(snapshot: Snapshot, image_id: ImageID) -> LayerStack:
    """The layers of an image, in the source that has them all if any has."""
    return snapshot.source_of(image_id).store.layers(image_id)


def layer_trees(snapshot: Snapshot, image_id: ImageID) -> Iterator[Tree]:
    """The tree of each layer of an image alone, bottom first. Raises what reading the layers raises."""
    layers, make = layers_of(snapshot, image_id), _cached(snapshot)
    for number in range(len(layers.diff_ids)):
        yield make.layer_tree(layers, number, f"image {image_id}")


@contextmanager
def merged(snapshot: Snapshot, image_id: ImageID) -> Iterator[LoadedTree]:
    """What a container of the image would see. Raises what reading the layers raises."""
    layers = layers_of(snapshot, image_id)
    tree = _cached(snapshot).tree(layers, None, f"image {image_id}")
    loaded = LoadedTree(tree, layers.open_one, OpenLayers())
    try:
        yield loaded
    finally:
        loaded.close()


def _cached(snapshot: Snapshot) -> TreeCache:
    return TreeCache(cache().of(snapshot.writers))
