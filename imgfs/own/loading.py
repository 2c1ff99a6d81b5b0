"""Copying images from any source into our own store, layers' bytes as they are stored there.

Every layer is decoded on the way and must have the diff ID that its config gives.
Tried by the tests of `imgfs load`.
"""

import logging
import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from imgfs.blob import FileBlob, Folder, blob_chunks
from imgfs.budget import check_decoded
from imgfs.codec import Compression, detect, open_forward
from imgfs.digest import ChainID, DiffID, ImageID
from imgfs.errors import Corrupt, ImgfsError, LayerNotFound, NotFound, describe, is_exhausted, printable
from imgfs.layers import BlobLayer, Layer, LayerChoice, chain_ids
from imgfs.layers.progress import Progress
from imgfs.own.writer import StagedLayer, Writer, file_chunks
from imgfs.sources.source import Source
from imgfs.store import Image

logger = logging.getLogger("imgfs")


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image that was copied with its names, or not: `error` says why."""

    image_id: ImageID
    tags: Sequence[str]
    error: Exception | None = None


def parents_first(source: Source) -> list[ImageID]:
    """All images of a source, none before its parent, cycles of parents cut somewhere."""
    return _parents_first(source, source.store.map())


def _parents_first(source: Source, images: dict[ImageID, Image]) -> list[ImageID]:
    order: dict[ImageID, None] = {}
    for image_id in images:
        line = []
        next_id: ImageID | None = image_id
        while next_id in images and next_id not in order and next_id not in line:
            line.append(next_id)
            next_id = _parent(source, next_id)
        order.update(dict.fromkeys(reversed(line)))
    return list(order)


def load_images(
    source: Source, writer: Writer, progress: Progress, only: Mapping[ImageID, Sequence[str]] | None = None
) -> Iterator[Loaded]:
    """Copy every image of a source, with its names, and its parent if that is in the writer's store by then.

    With `only`, copy the images there, under those of their names that stand there.

    Yields what became of each once it is known: a layer may be missing, or not what the config says. Raises an error
    that says that memory, the disk or descriptors are exhausted.
    """
    images = source.store.map()
    names: dict[ImageID, list[str]] = {}
    for name, image_id in source.tags.items():
        if only is None or printable(name) in only.get(image_id, ()):
            names.setdefault(image_id, []).append(name)
    added: list[Loaded] = []
    for image_id in _parents_first(source, images):
        if only is not None and image_id not in only:
            continue
        tags = names.get(image_id, ())
        try:
            _add(source, images[image_id], tags, writer, progress)
            added.append(Loaded(image_id, tags))
        except (ImgfsError, OSError) as error:
            if is_exhausted(error):
                raise
            yield Loaded(image_id, tags, error)
        if writer.is_due:
            yield from _flush(writer, added)
            added = []
    yield from _flush(writer, added)


def load_image(
    source: Source, image_id: ImageID, writer: Writer, progress: Progress, names: Sequence[str] | None = None
) -> Sequence[str]:
    """Copy one image as `load_images` does, with `names`, else with those that it has; returns them.

    Raises Corrupt, LayerNotFound or OSError.
    """
    tags = names
    if tags is None:
        tags = [name for name, named in source.tags.items() if named == image_id]
    _add(source, source.store.get(image_id), tags, writer, progress)
    writer.flush()
    return tags


def _flush(writer: Writer, added: Sequence[Loaded]) -> Sequence[Loaded]:
    """Make images visible; returns what became of each."""
    try:
        writer.flush()
    except (ImgfsError, OSError) as error:
        if is_exhausted(error):
            raise
        return [replace(each, error=error) for each in added]
    return added


def _add(source: Source, image: Image, tags: Sequence[str], writer: Writer, progress: Progress) -> None:
    stack = list(zip(chain_ids(image.diff_ids), image.diff_ids, strict=True))
    staged = []
    for number, (chain_id, diff_id) in enumerate(stack, 1):
        label = f"layer {number} of {len(stack)}  {diff_id.short}"
        known = _known(writer, chain_id)
        staged.append(known or _stage(source, chain_id, diff_id, writer, progress, label))
    writer.add(image, staged, _parent(source, image.id), tags)


def received_archive(folder: Folder, progress: Progress) -> FileBlob:
    """The archive on standard input, as an uncompressed copy in `folder`."""
    path = f"standard-input-{secrets.token_hex(4)}"  # a name that errors may show
    with open(folder.create(path), "wb") as file, progress("standard input", None) as advance:
        for chunk in file_chunks(sys.stdin.buffer):
            file.write(chunk)
            advance(len(chunk))
    blob = _copy(folder, path, path)
    compression = detect(blob)
    if compression is Compression.PLAIN:
        return blob
    stored, name = blob.size, secrets.token_hex(8)
    with open_forward(blob, compression) as plain, open(folder.create(name), "wb") as file:
        with progress("decompressing", None) as advance:
            for chunk in blob_chunks(plain):
                check_decoded(path, stored, file.tell() + len(chunk))
                file.write(chunk)
                advance(len(chunk))
    return _copy(folder, name, path)


def _copy(folder: Folder, name: str, path: str) -> FileBlob:
    """A file of the writer's own, under the path that errors show."""
    with folder.open(name) as file:
        return FileBlob(path, os.dup(file.fileno()))


def _known(writer: Writer, chain_id: ChainID) -> StagedLayer | None:
    """A layer that is in the writer's store already; None if it is not, or is damaged and has to be replaced."""
    try:
        return writer.stage_known(chain_id)
    except LayerNotFound:
        return None
    except (ImgfsError, OSError) as error:
        logger.warning("replacing what is damaged in the store: %s", describe(error))
        return None


def _stage(
    source: Source, chain_id: ChainID, diff_id: DiffID, writer: Writer, progress: Progress, label: str
) -> StagedLayer:
    def stage(layer: Layer) -> StagedLayer:
        # a layer that is kept compressed is copied so; others are tars already
        blob = layer.open_blob() if isinstance(layer, BlobLayer) else layer.open()
        with blob, progress(label, blob.known_size) as advance:
            chunks = blob_chunks(blob)
            staged = writer.stage(chunks, f"layer {diff_id}", advance, diff_id.algorithm)
        if staged.damage:
            logger.warning("%s", staged.damage)
        if staged.diff_id != diff_id:
            raise Corrupt(f"layer {diff_id}: its bytes have the diff ID {staged.diff_id}")
        return staged

    layer = source.layers.get(chain_id)
    try:
        return layer.attempt(stage) if isinstance(layer, LayerChoice) else stage(layer)
    finally:
        source.layers.release(layer)


def _parent(source: Source, image_id: ImageID) -> ImageID | None:
    try:
        return source.store.get_parent(image_id)
    except NotFound:
        return None
