"""Changing our own store: stage, then make visible in one step under the store's lock.

Layers' bytes are staged, hashed and decoded with no lock held, so several writers work at once and readers
never wait. `sources.own.layout` says in which order a change becomes visible, and what a killed writer leaves.
"""

import fcntl
import logging
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Self

from imgfs.blob import Folder
from imgfs.codec import Compression, begins_tar, describe_unread, detect
from imgfs.digest import ChainID, DiffID, Digest, ImageID
from imgfs.errors import (
    Corrupt,
    ImgfsError,
    InUse,
    InvalidImage,
    LayerNotFound,
    StoreError,
    describe,
    printable,
)
from imgfs.layers import Indexer, LayerRegistry, chain_ids, check_stored
from imgfs.sources.own.layout import BLOBS, LAYERS, STAGING, LayerRecord, Layout
from imgfs.sources.own.store import find_layer
from imgfs.store import FSBackend, Image, ImageStore, Problems, StoreBackend

logger = logging.getLogger("imgfs")

CHUNK = 1 << 20

_Identity = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StagedLayer:
    """A layer whose stored bytes lie in the staging folder under `name`, hashed and decoded once.

    `damage` says what is wrong with its tar, empty when nothing is.
    """

    diff_id: DiffID
    blob: Digest
    size: int
    name: str
    damage: str = ""


class Writer:
    """One writer of the store at `layout`, with a staging folder of its own; a context manager.

    Makes the store if it is not there. Raises OSError when it cannot be written.
    """

    def __init__(self, layout: Layout, indexer: Indexer) -> None:
        layout.create()
        self._layout = layout
        self._indexer = indexer
        self._sound: set[_Identity] = set()  # files that were hashed already
        self._name = secrets.token_hex(8)
        self._staging = layout.files.folder(STAGING, make=True)
        with layout.lock():  # so that no sweep sees the folder before it is locked
            self.folder = self._staging.folder(self._name, make=True, mode=0o700)
            if os.fstat(self.folder.fileno()).st_uid != os.geteuid():  # put there by another user meanwhile
                raise StoreError(f"{self.folder.path}: another user's")
            fcntl.flock(self.folder.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with self._staging, self.folder:
            self._staging.remove(self._name)

    def stage(
        self,
        chunks: Iterable[bytes],
        name: str,
        advance: Callable[[int], None],
        algorithm: str = "sha256",
    ) -> StagedLayer:
        """Take a layer's stored bytes, compressed or not; `advance` hears of every byte taken, errors call it `name`.

        `algorithm` is that of the layer's diff ID.
        Raises Corrupt if they do not decode, or are neither a tar nor compressed. What is learnt on the way is the
        layer's index.
        """
        staged = secrets.token_hex(8)
        with open(self.folder.create(staged), "wb") as file:
            for chunk in chunks:
                file.write(chunk)
                advance(len(chunk))
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        with self.folder.open(staged) as blob:
            if detect(blob) is Compression.PLAIN and not begins_tar(blob):
                raise Corrupt(f"{name}: {describe_unread(blob)}")
        header = self._indexer.learn(self.folder.open(staged), name, algorithm)
        self._sound.add(self._identity(staged))
        damage = f"{name}: not a sound tar: {header.damage}" if header.damage else ""
        return StagedLayer(DiffID(header.diff_id), Digest(header.stored_digest), header.size, staged, damage)

    def stage_known(self, chain_id: ChainID) -> StagedLayer:
        """A layer that the store has already, held against being swept, and sound: its blob is hashed.

        Raises LayerNotFound if the store has none; what `Layout.read_record` raises, StoreError, Corrupt or OSError if
        its record or its blob are not what they should be.
        """
        record = self._layout.read_record(chain_id)
        name = chain_id.hex
        self.folder.remove(name)  # held for an earlier image; the blob may have been replaced since
        try:
            with self._layout.files.folder(BLOBS) as blobs:
                blobs.link(Digest(record.blob).hex, self.folder, name)
        except FileNotFoundError:
            raise StoreError(f"layer {record.diff_id}: its blob {record.blob} is missing") from None
        held = find_layer(self._layout, self._indexer, chain_id, partial(self.folder.open, name))
        if self._identity(name) not in self._sound:
            check_stored(held)
            self._sound.add(self._identity(name))
        with held.content() as content:
            content.wait_for_index(
                with_copy=False
            )  # in the cache since it was loaded, unless that was cleared
        return StagedLayer(DiffID(record.diff_id), Digest(record.blob), record.size, name)

    def commit(
        self, config: bytes, layers: Sequence[StagedLayer], parent: ImageID | None, tags: Iterable[str]
    ) -> ImageID:
        """Make an image visible, with its layers, bottom first, its parent if that is here, and its names.

        Raises InvalidImage if the layers are not those of the config, or what `ImageStore.create` raises.
        """
        image = Image.from_config(config)
        if [layer.diff_id for layer in layers] != list(image.diff_ids):
            raise InvalidImage(f"image {image.id}: its layers are not the ones that its config names")
        with self._changing() as store:
            with self._layout.files.folder(BLOBS) as blobs:
                for layer in layers:  # in place of one that is there, which may be damaged
                    self.folder.rename(layer.name, blobs, layer.blob.hex)
                blobs.sync()
            below = None
            for chain_id, layer in zip(chain_ids(image.diff_ids), layers, strict=True):
                self._layout.write_record(chain_id, LayerRecord(layer.diff_id, layer.blob, layer.size, below))
                below = chain_id
            image_id = store.create(config, parent=parent if parent in store.map() else None)
            names = dict.fromkeys(tags, image_id)
            if names:
                self._layout.write_tags(self._names() | names)
        return image_id

    def tag(self, image_id: ImageID, name: str) -> None:
        """Give an image a name, taking it from whichever image had it."""
        with self._changing() as store:
            store.get(image_id)
            self._layout.write_tags(self._names() | {name: image_id})

    def untag(self, names: Iterable[str]) -> None:
        """Remove names, as `printable` writes them; their images stay."""
        gone = set(names)
        with self._changing():
            tags = self._names()
            self._layout.write_tags(
                {name: image_id for name, image_id in tags.items() if printable(name) not in gone}
            )

    def remove(self, image_id: ImageID, *, force: bool = False) -> None:
        """Remove an image, its names, and the layers that nobody refers to any more.

        Raises InUse if it has children, unless `force`, which leaves them without a parent.
        """
        with self._changing() as store:
            store.get(image_id)
            children = store.children(image_id)
            if children and not force:
                raise InUse(
                    f"image {image_id.short} has {len(children)} dependent child images (--force to remove it)"
                )
            tags = self._names()
            self._layout.write_tags({name: other for name, other in tags.items() if other != image_id})
            store.delete(image_id)

    def _names(self) -> dict[str, ImageID]:
        """All names, to be written again; of a document that is damaged those that can be read, and it is kept."""
        problems = Problems(self._layout.root)
        try:
            names = self._layout.read_tags(problems.report)
        except ImgfsError as error:
            problems.report(f"its names cannot be read: {describe(error)}")
            names = {}
        if problems:
            self._layout.set_tags_aside()
        return names

    @contextmanager
    def _changing(self) -> Iterator[ImageStore]:
        """The store as it is, for a change under its lock; afterwards what nobody refers to is swept away."""
        with self._layout.lock():
            layers = LayerRegistry(partial(find_layer, self._layout, self._indexer))
            backend = FSBackend(self._layout.imagedb)
            yield ImageStore(backend, layers)
            sweep(self._layout, backend)

    def _identity(self, name: str) -> _Identity:
        """What tells a staged file from any other, and from itself once it was written to.

        Raises StoreError or OSError.
        """
        status = self.folder.stat(name)
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{self.folder.path_of(name)}: not a regular file")
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def sweep(layout: Layout, images: StoreBackend) -> None:
    """Remove layers that none of `images` has, blobs that no layer has, and what dead writers left.

    While an image or a layer of one cannot be read, every layer and blob stays. Called with the store's lock held.
    """
    try:
        layers, blobs = _in_use(layout, images)
    except (ImgfsError, OSError) as error:
        logger.warning("%s: layers that nobody may need any more are kept: %s", layout.root, describe(error))
    else:
        for folder, names in ((LAYERS, layers), (BLOBS, blobs)):
            with layout.files.folder(folder) as opened:
                _keep_only(opened, names)
    with layout.files.folder(STAGING) as staging:
        for entry in staging.scan():
            if entry.is_dir(follow_symlinks=False):
                _remove_if_dead(staging, entry.name)
            else:
                staging.remove(entry.name)  # a record being written by whoever was killed holding this lock


def _in_use(layout: Layout, images: StoreBackend) -> tuple[set[str], set[str]]:
    """The names of the layers that the images have, and of their blobs.

    Raises ImgfsError or OSError unless all of them can be read.
    """
    configs = (Image.from_config(images.get(image_id)) for image_id in images.walk())
    layers = {chain_id for image in configs for chain_id in chain_ids(image.diff_ids)}
    blobs = set()
    for chain_id in layers:
        with suppress(LayerNotFound):  # nothing to keep for it
            blobs.add(Digest(layout.read_record(chain_id).blob).hex)
    return {chain_id.hex for chain_id in layers}, blobs


def _keep_only(folder: Folder, names: set[str]) -> None:
    for entry in folder.scan():
        if entry.name not in names:
            folder.remove(entry.name)


def _remove_if_dead(staging: Folder, name: str) -> None:
    with staging.folder(name) as folder:
        try:
            fcntl.flock(folder.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # its writer lives
        staging.remove(name)


def file_chunks(file: BinaryIO) -> Iterator[bytes]:
    """What is left of a file, piece by piece."""
    while chunk := file.read(CHUNK):
        yield chunk
