"""Changing our own store: stage, then make visible in one step under the store's lock.

Layers' bytes are staged, hashed and decoded with no lock held, so several writers work at once and readers
never wait. The order in which a change becomes visible, and what a killed writer leaves, is told in `own_layout`.
"""

import fcntl
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Self

from imgfs.blob import FileBlob
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
from imgfs.sources.own import find_layer
from imgfs.sources.own_layout import LayerRecord, Layout
from imgfs.store import FSBackend, Image, ImageStore, Problems, StoreBackend
from imgfs.store.files import replace, sync_directory

logger = logging.getLogger("imgfs")

CHUNK = 1 << 20

_Identity = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StagedLayer:
    """A layer whose stored bytes lie in the staging folder, hashed and decoded once.

    `damage` says what is wrong with its tar, empty when nothing is.
    """

    diff_id: DiffID
    blob: Digest
    size: int
    path: str
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
        os.makedirs(layout.staging, exist_ok=True)
        with layout.lock():  # so that no sweep sees the folder before it is locked
            self.folder = tempfile.mkdtemp(dir=layout.staging)
            self._folder_lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._folder_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self.folder)
        os.close(self._folder_lock)

    def stage(self, chunks: Iterable[bytes], name: str, advance: Callable[[int], None]) -> StagedLayer:
        """Take a layer's stored bytes, compressed or not; `advance` hears of every byte taken, errors call it `name`.

        Raises Corrupt if they do not decode, or are neither a tar nor compressed. What is learnt on the way is the
        layer's index.
        """
        fd, path = tempfile.mkstemp(dir=self.folder)
        with open(fd, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
                advance(len(chunk))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(path, 0o644)
        with FileBlob(path) as blob:
            if detect(blob) is Compression.PLAIN and not begins_tar(blob):
                raise Corrupt(f"{name}: {describe_unread(blob)}")
        facts = self._indexer.learn(FileBlob(path), name)
        self._sound.add(_identity(path))
        damage = f"{name}: not a sound tar: {facts.damage}" if facts.damage else ""
        return StagedLayer(DiffID(facts.diff_id), Digest(facts.stored_digest), facts.size, path, damage)

    def stage_known(self, chain_id: ChainID) -> StagedLayer:
        """A layer that the store has already, held against being swept, and sound: its blob is hashed.

        Raises LayerNotFound if the store has none; what `Layout.read_record` raises, StoreError, Corrupt or OSError if
        its record or its blob are not what they should be.
        """
        record = self._layout.read_record(chain_id)
        path = os.path.join(self.folder, chain_id.hex)
        with suppress(FileNotFoundError):  # held for an earlier image; the blob may have been replaced since
            os.unlink(path)
        try:
            os.link(self._layout.blob(Digest(record.blob)), path, follow_symlinks=False)
        except FileNotFoundError:
            raise StoreError(f"layer {record.diff_id}: its blob {record.blob} is missing") from None
        held = find_layer(self._layout, self._indexer, chain_id, path)
        if _identity(path) not in self._sound:
            check_stored(held)
            self._sound.add(_identity(path))
        self._indexer.index(
            held.subject(), with_copy=False
        )  # known from when it was loaded, unless the cache is gone
        return StagedLayer(DiffID(record.diff_id), Digest(record.blob), record.size, path)

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
            for layer in layers:
                self._place(layer)
            sync_directory(self._layout.blobs)
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
            os.rename(self._layout.repositories, f"{self._layout.repositories}.damaged")
        return names

    @contextmanager
    def _changing(self) -> Iterator[ImageStore]:
        """The store as it is, for a change under its lock; afterwards what nobody refers to is swept away."""
        with self._layout.lock():
            layers = LayerRegistry(partial(find_layer, self._layout, self._indexer))
            backend = FSBackend(self._layout.imagedb)
            yield ImageStore(backend, layers)
            sweep(self._layout, backend)

    def _place(self, layer: StagedLayer) -> None:
        """Put a layer's blob where it belongs, in place of one there, which may be damaged."""
        replace(layer.path, self._layout.blob(layer.blob))


def sweep(layout: Layout, images: StoreBackend) -> None:
    """Remove layers that none of `images` has, blobs that no layer has, and what dead writers left.

    While an image or a layer of one cannot be read, every layer and blob stays. Called with the store's lock held.
    """
    try:
        layers, blobs = _in_use(layout, images)
    except (ImgfsError, OSError) as error:
        logger.warning("%s: layers that nobody may need any more are kept: %s", layout.root, describe(error))
    else:
        _keep_only(layout.layers, layers)
        _keep_only(layout.blobs, blobs)
    for entry in list(os.scandir(layout.staging)):
        if entry.is_dir(follow_symlinks=False):
            _remove_if_dead(entry.path)
        else:
            os.unlink(entry.path)  # a record being written by whoever was killed holding this lock


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


def _keep_only(folder: str, names: set[str]) -> None:
    for entry in list(os.scandir(folder)):
        if entry.name not in names:
            os.unlink(entry.path)


def _remove_if_dead(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # its writer lives
    else:
        shutil.rmtree(folder)
    finally:
        os.close(fd)


def _identity(path: str) -> _Identity:
    """What tells a stored file from any other, and from itself once it was written to. Raises StoreError or OSError."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path}: not a regular file")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def file_chunks(file: BinaryIO) -> Iterator[bytes]:
    """What is left of a file, piece by piece."""
    while chunk := file.read(CHUNK):
        yield chunk
