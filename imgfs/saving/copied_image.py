"""What an image that was chosen is copied as: what its place stores of it by digest, else what is made of it.

Tried by the tests of `imgfs copy`.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

from imgfs.cache import Cache
from imgfs.digest import ImageID
from imgfs.errors import printable
from imgfs.saving.compression import LayerCompressor
from imgfs.saving.made_image import made_pieces
from imgfs.saving.piece import Kind, Piece
from imgfs.saving.stored_image import StoredImages, StoredManifest
from imgfs.sources.chosen import ChosenImage
from imgfs.sources.content_store import ContentStore
from imgfs.sources.image_reference import ImageReference
from imgfs.sources.lookup import image_meant
from imgfs.sources.manifests import Descriptor
from imgfs.sources.union import Union

logger = logging.getLogger("imgfs")


def copied_meant(
    term: str, reference: ImageReference, union: Union, cache: Cache, unreadable: Sequence[str]
) -> ChosenImage:
    """The image that is meant, a `Find`; where one is not named, that for this machine of the one index there is."""
    content = union.sources[0].content if len(union.sources) == 1 and not reference.name else None
    if content is not None:
        tops = {f"@{top.descriptor.digest}" for top in content.tops()}
        if len(tops) == 1 and tops <= union.snapshot.aliases.keys():
            reference = replace(reference, name=tops.pop())
    return image_meant(term, reference, union, cache, unreadable)


def copied_pieces(
    chosen: ChosenImage, compressor: LayerCompressor | None, *, with_all: bool, must_compress: bool = False
) -> Iterator[Piece]:
    """What an image is copied as; `with_all`, that of every platform below the index that it was named by.

    Layers of a manifest that is made are compressed by `compressor`, if there is one. One is made also of an image that
    is stored with one, if it `must_compress` and not all layers are compressed in its way.

    Raises StoreError if not all of that is stored, what reading documents raises, and as `made_pieces` does.
    """
    stored = stored_manifest(chosen, with_all=with_all)
    if stored is not None and (compressor is None or not must_compress or compressor.has_made(stored.blobs)):
        return stored.pieces()
    if compressor is None:
        return made_pieces(chosen.image, chosen.layers)
    return made_pieces(chosen.image, chosen.layers, compressor.compressed)


def copied_images(chosen: ChosenImage, *, with_all: bool) -> list[ImageID]:
    """The IDs of the images that are copied, the chosen one first. Raises as `copied_pieces` does."""
    stored = stored_manifest(chosen, with_all=True) if with_all else None
    pieces = stored.pieces() if stored is not None else ()
    configs = (ImageID(piece.digest) for piece in pieces if piece.kind is Kind.CONFIG)
    images = [image_id for image_id in configs if image_id in chosen.snapshot.images]
    return list(dict.fromkeys((chosen.image_id, *images)))


def stored_manifest(chosen: ChosenImage, *, with_all: bool) -> StoredManifest | None:
    """The manifest, or `with_all` the index, as it is stored; None if the place keeps none, or not all of its blobs."""
    source = chosen.snapshot.source_of(chosen.image_id)
    if source.content is None:
        return None
    images = StoredImages(source.content, source.reference)
    for top in _tops(source.content, chosen):
        found = images.manifest_of(top, chosen.image_id)
        if found is not None:
            return images.everything(top) if with_all else found
    if source.manifest(chosen.image_id) is not None:
        logger.warning(
            "%s: not all compressed layers are stored, so the manifest is made again and has another digest",
            chosen.term,
        )
    return None


def _tops(content: ContentStore, chosen: ChosenImage) -> list[Descriptor]:
    """What the name or the digest that the image was chosen by leads to, else all that may lead to it."""
    tops = list(content.tops())
    digest = chosen.term.rpartition("@")[2]
    found = [top for top in tops if top.descriptor.digest == digest]
    found = found or [top for top in tops if chosen.name in [printable(name) for name in top.names]]
    return [top.descriptor for top in found or tops]
