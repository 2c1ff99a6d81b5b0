"""The layers of the images of a source, each once, for commands that go through all of them.

Tried by the tests of `imgfs index` and `imgfs verify`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from imgfs.digest import ChainID, DiffID, ImageID
from imgfs.layers import Layer, chain_ids
from imgfs.sources import Source
from imgfs.sources.lookup import find_image
from imgfs.sources.union import Snapshot, Union


def meant(union: Union, terms: Sequence[str]) -> Sequence[ImageID]:
    """The images that `terms` name, or all that the sources were asked for."""
    return list(dict.fromkeys(find_image(term, union) for term in terms)) if terms else union.snapshot.wanted


def layers_of(
    snapshot: Snapshot, images: Iterable[ImageID]
) -> Mapping[ChainID, tuple[Source, DiffID, list[ImageID]]]:
    """The layers of some images: the source of each, its diff ID, and the images that have it."""
    found: dict[ChainID, tuple[Source, DiffID, list[ImageID]]] = {}
    for image_id in images:
        source = snapshot.source_of(image_id)
        diff_ids = snapshot.images[image_id].diff_ids
        for chain_id, diff_id in zip(chain_ids(diff_ids), diff_ids, strict=True):
            found.setdefault(chain_id, (source, diff_id, []))[2].append(image_id)
    return found


def owner_names(snapshot: Snapshot, images: Iterable[ImageID]) -> list[str]:
    """The names of some images, or their short IDs."""
    return [name for image_id in images for name in snapshot.tags_of(image_id) or [image_id.short]]


@contextmanager
def taken(source: Source, chain_id: ChainID) -> Iterator[Layer]:
    """A layer of a source, which is released at the end."""
    layer = source.layers.get(chain_id)
    try:
        yield layer
    finally:
        source.layers.release(layer)
