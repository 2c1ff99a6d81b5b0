"""Copying images from any source into our own store, layers' bytes as they are stored there.

Every layer is decoded on the way and must have the diff ID that its config gives.
"""

import logging
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from imgfs.blob import Blob, FileBlob, Folder, blob_chunks
from imgfs.budget import check_decoded
from imgfs.codec import Compression, detect, open_forward
from imgfs.digest import ChainID, DiffID, ImageID
from imgfs.errors import Corrupt, ImgfsError, LayerNotFound, NotFound, describe
from imgfs.layers import BlobLayer, Layer, LayerChoice, chain_ids
from imgfs.own.writer import StagedLayer, Writer, file_chunks
from imgfs.sources.source import Source

logger = logging.getLogger("imgfs")


class Progress(Protocol):
    """How long work tells of itself."""

    def __call__(self, label: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        """Begin a piece of work of `total` bytes; what it yields is called with the bytes done since."""


def parents_first(source: Source) -> list[ImageID]:
    """All images of a source, none before its parent, cycles of parents cut somewhere."""
    images = source.store.map()
    order: dict[ImageID, None] = {}
    for image_id in images:
        line = []
        next_id: ImageID | None = image_id
        while next_id in images and next_id not in order and next_id not in line:
            line.append(next_id)
            next_id = _parent(source, next_id)
        order.update(dict.fromkeys(reversed(line)))
    return list(order)


def load_image(source: Source, image_id: ImageID, writer: Writer, progress: Progress) -> list[str]:
    """Copy one image, its parent if that is in the writer's store by now, and its names, which it answers.

    Raises Corrupt if a layer's bytes are not what the config says, LayerNotFound or OSError if they are missing.
    """
    image = source.store.get(image_id)
    staged = [
        _known(writer, chain_id) or _stage(source, chain_id, diff_id, writer, progress)
        for chain_id, diff_id in zip(chain_ids(image.diff_ids), image.diff_ids, strict=True)
    ]
    tags = [name for name, named in source.tags.items() if named == image_id]
    writer.commit(image.raw_config, staged, _parent(source, image_id), tags)
    return tags


def plain_archive(path: str, folder: Folder, progress: Progress) -> str:
    """The path of an uncompressed form of the archive at `path`, or on standard input if that is `-`.

    That is `path` itself where it can be read in place, else a copy in `folder`, by a path that leads there whatever
    becomes of the directories above it.
    """
    if path == "-":
        name = f"standard-input-{secrets.token_hex(4)}"  # a name that errors may show
        with open(folder.create(name), "wb") as file, progress("standard input", None) as advance:
            for chunk in file_chunks(sys.stdin.buffer):
                file.write(chunk)
                advance(len(chunk))
        path = _held_path(folder, name)
    blob: Blob = FileBlob(path)
    compression = detect(blob)
    if compression is Compression.PLAIN:
        blob.close()
        return path
    stored, name = blob.size, secrets.token_hex(8)
    with open_forward(blob, compression) as plain, open(folder.create(name), "wb") as file:
        with progress(path, None) as advance:
            for chunk in blob_chunks(plain):
                check_decoded(path, stored, file.tell() + len(chunk))
                file.write(chunk)
                advance(len(chunk))
    return _held_path(folder, name)


def _held_path(folder: Folder, name: str) -> str:
    return f"/proc/{os.getpid()}/fd/{folder.fileno()}/{name}"


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
    source: Source, chain_id: ChainID, diff_id: DiffID, writer: Writer, progress: Progress
) -> StagedLayer:
    def stage(layer: Layer) -> StagedLayer:
        # a layer that is kept compressed is copied so; others are tars already
        blob = layer.open_blob() if isinstance(layer, BlobLayer) else layer.open()
        with blob, progress(diff_id.short, blob.known_size) as advance:
            chunks = blob_chunks(blob)
            staged = writer.stage(chunks, f"layer {diff_id}", advance, diff_id.algorithm)
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
