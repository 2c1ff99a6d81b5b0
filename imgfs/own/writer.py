"""Changing our own store: stage, then make visible in one step under the store's lock.

Layers' bytes are staged, hashed and decoded with no lock held, so several writers work at once and readers
never wait. `sources.own.layout` says in which order a change becomes visible, and what a killed writer leaves.
"""

import fcntl
import logging
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO, Self

import msgspec

from imgfs.blob.stamp import FileStamp
from imgfs.codec import Compression, begins_tar, describe_unread, detect
from imgfs.digest import ChainID, DiffID, Digest, ImageID
from imgfs.errors import (
    Corrupt,
    ImageNotFound,
    ImgfsError,
    InUse,
    InvalidImage,
    LayerNotFound,
    StoreError,
    describe,
    printable,
)
from imgfs.layers import Indexer, chain_ids, check_stored
from imgfs.own.sweeping import sweep
from imgfs.sources.names import Names
from imgfs.sources.own.layout import BLOBS, STAGING, LayerRecord, Layout
from imgfs.sources.own.store import layer_of
from imgfs.store import DigestIndex, FSBackend, Image, Problems
from imgfs.store.restore import read_parents

logger = logging.getLogger("imgfs")

CHUNK = 1 << 20

_REST = (
    10  # times as long as a flush took, before the next one: so they take a tenth of the time of a long load
)


class StagedLayer(msgspec.Struct, frozen=True):
    """A layer whose stored bytes lie in the staging folder under `name`, hashed and decoded once.

    `damage` says what is wrong with its tar, empty when nothing is.
    """

    diff_id: DiffID
    blob: Digest
    size: int
    name: str
    damage: str = ""


class _Pending(msgspec.Struct, frozen=True):
    """An image that is staged whole and not visible yet."""

    image: Image
    layers: Mapping[ChainID, StagedLayer]
    parent: ImageID | None
    tags: Sequence[str]


class Writer:
    """One writer of the store at `layout`, with a staging folder of its own; a context manager.

    Makes the store if it is not there. Images that were added become visible by `flush`, many in one step, as a step
    takes time in proportion to the number of names. Layers that no image needs any more are swept away at the end.
    Raises OSError when the store cannot be written.
    """

    def __init__(self, layout: Layout, indexer: Indexer) -> None:
        layout.create()
        self.root = layout.root
        self._layout = layout
        self._indexer = indexer
        self._images = FSBackend(layout.imagedb)
        self._sound: set[FileStamp] = set()  # files that were hashed already
        self._pending: list[_Pending] = []
        self._held: dict[ChainID, StagedLayer] = {}  # by images that are pending
        self._last_flush = self._flush_time = 0.0  # when it ended, and how long it took; seconds
        self._has_garbage = False
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
        # what a killed writer left is found by its folder, so this one's own is removed after the sweep
        with self._staging, self.folder:
            with self._layout.lock():
                sweep(self._layout, self._images, always=self._has_garbage)
            self._staging.remove(self._name)

    @property
    def names(self) -> Names:
        """The names and IDs of the images that are there; no config is read."""
        present = set(self._images.walk())
        names, _ = self._read_names()
        tags = {printable(name): of for name, of in names.items() if of in present}
        return Names(tags, DigestIndex(present))

    def image(self, image_id: ImageID) -> Image:
        """An image that is there. Raises NotFound, Corrupt or InvalidImage."""
        return Image.from_config(self._images.get(image_id))

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
            os.fchmod(file.fileno(), 0o644)
        with self.folder.open(staged) as blob:
            if detect(blob) is Compression.PLAIN and not begins_tar(blob):
                raise Corrupt(f"{name}: {describe_unread(blob)}")
        header = self._indexer.learn(self.folder.open(staged), name, algorithm)
        self._sound.add(self._identity(staged))
        damage = f"{name}: not a sound tar: {header.damage}" if header.damage else ""
        return StagedLayer(DiffID(header.diff_id), Digest(header.stored_digest), header.size, staged, damage)

    def stage_known(self, chain_id: ChainID) -> StagedLayer:
        """A layer that the store has already, held against being swept, and sound: its blob is hashed once.

        Raises LayerNotFound if the store has none; what `Layout.read_record` raises, StoreError, Corrupt or OSError if
        its record or its blob are not what they should be.
        """
        if chain_id in self._held:
            return self._held[chain_id]
        record = self._layout.read_record(chain_id)
        name = chain_id.hex
        self.folder.remove(name)  # held for an earlier image; the blob may have been replaced since
        try:
            with self._layout.files.folder(BLOBS) as blobs:
                blobs.link(Digest(record.blob).hex, self.folder, name)
        except FileNotFoundError:
            raise StoreError(f"layer {record.diff_id}: its blob {record.blob} is missing") from None
        if self._identity(name) not in self._sound:
            held = layer_of(record, chain_id, self._indexer, partial(self.folder.open, name))
            check_stored(held)
            with held.content() as content:
                # in the cache since it was loaded, unless that was cleared
                content.wait_for_index(with_copy=False)
            self._sound.add(self._identity(name))
        return StagedLayer(DiffID(record.diff_id), Digest(record.blob), record.size, name)

    def add(
        self, image: Image, layers: Sequence[StagedLayer], parent: ImageID | None, tags: Sequence[str]
    ) -> None:
        """Have an image become visible with the next flush: its layers, bottom first, its parent and its names.

        The parent is recorded if it is there by then. Raises InvalidImage if the config does not fit its own history,
        or if the layers are not those of the config.
        """
        image.check_history()
        if [layer.diff_id for layer in layers] != list(image.diff_ids):
            raise InvalidImage(f"image {image.id}: its layers are not the ones that its config names")
        stack = dict(zip(chain_ids(image.diff_ids), layers, strict=True))
        self._held |= stack
        self._pending.append(_Pending(image, stack, parent, tags))

    @property
    def is_due(self) -> bool:
        """Whether to flush now: the last time was long enough ago for that to take a small part of the time."""
        return time.monotonic() - self._last_flush >= _REST * self._flush_time

    def commit(
        self, config: bytes, layers: Sequence[StagedLayer], parent: ImageID | None, tags: Sequence[str]
    ) -> ImageID:
        """Make an image visible at once, from its config. Raises what `add` and `flush` raise."""
        image = Image.from_config(config)
        self.add(image, layers, parent, tags)
        self.flush()
        return image.id

    def flush(self) -> None:
        """Make the images that were added visible. Raises ImgfsError or OSError; some of them may be visible then."""
        pending, self._pending = self._pending, []
        self._held = {}
        if not pending:
            return
        start = time.monotonic()
        with self._layout.lock(), self._littering():
            self._place_blobs(pending)
            self._write_records(pending)
            parents = self._parents(pending)
            self._images.set_all(
                [
                    (each.image.raw_config, {"parent": parent.encode()} if parent is not None else {})
                    for each, parent in zip(pending, parents, strict=True)
                ]
            )
            names = {name: each.image.id for each in pending for name in each.tags}
            if names:
                self._layout.write_tags(self._names() | names)
        self._last_flush = time.monotonic()
        self._flush_time = self._last_flush - start

    def tag(self, image_id: ImageID, name: str) -> None:
        """Give an image a name, taking it from whichever image had it. Raises NotFound, Corrupt or OSError."""
        with self._layout.lock():
            self._images.get(image_id)
            self._layout.write_tags(self._names() | {name: image_id})

    def untag(self, names: Iterable[str]) -> None:
        """Remove names, as `printable` writes them; their images stay."""
        gone = set(names)
        with self._layout.lock():
            tags = self._names()
            self._layout.write_tags(
                {name: image_id for name, image_id in tags.items() if printable(name) not in gone}
            )

    def remove(self, image_id: ImageID, *, force: bool = False) -> None:
        """Remove an image and its names.

        Raises ImageNotFound; InUse if it has children, unless `force`, which leaves them without a parent.
        """
        with self._layout.lock():
            present = self._images.walk()
            if image_id not in present:
                raise ImageNotFound(image_id)
            parents = read_parents(self._images, present, logger.warning)
            children = [child for child, parent in parents.items() if parent == image_id]
            if children and not force:
                raise InUse(
                    f"image {image_id.short} has {len(children)} dependent child images (--force to remove it)"
                )
            self._has_garbage = True
            tags = self._names()
            self._layout.write_tags({name: other for name, other in tags.items() if other != image_id})
            self._images.delete(image_id)
            for child in children:
                self._images.delete_metadata(child, "parent")

    @contextmanager
    def _littering(self) -> Iterator[None]:
        """What fails within may leave files that no image refers to."""
        try:
            yield
        except BaseException:
            self._has_garbage = True
            raise

    def _place_blobs(self, pending: Iterable[_Pending]) -> None:
        """Give staged layers their places, also in place of blobs that are there, which may be damaged."""
        staged = {layer.name: layer for each in pending for layer in each.layers.values()}
        self.folder.sync_files(staged.keys())
        with self._layout.files.folder(BLOBS) as blobs:
            for layer in staged.values():
                self.folder.rename(layer.name, blobs, layer.blob.hex)
            blobs.sync()

    def _write_records(self, pending: Iterable[_Pending]) -> None:
        """Write the records of layers, but for those that are there already."""
        records: dict[ChainID, LayerRecord] = {}
        for each in pending:
            below = None
            for chain_id, layer in each.layers.items():
                records[chain_id] = LayerRecord(layer.diff_id, layer.blob, layer.size, below)
                below = chain_id
        self._layout.write_records(
            {chain_id: record for chain_id, record in records.items() if self._recorded(chain_id) != record}
        )

    def _recorded(self, chain_id: ChainID) -> LayerRecord | None:
        """The record of a layer, None if there is none that is sound. One that is replaced may leave its blob."""
        try:
            return self._layout.read_record(chain_id)
        except LayerNotFound:
            return None
        except (ImgfsError, OSError) as error:
            logger.info("%s: replacing a record: %s", self._layout.root, describe(error))
            self._has_garbage = True
            return None

    def _parents(self, pending: Sequence[_Pending]) -> list[ImageID | None]:
        """The parent that each image gets: one that is or will be there, and is not based on the image."""
        coming = {each.image.id for each in pending}
        found: dict[ImageID, ImageID] = {}
        for each in pending:
            image_id, parent = each.image.id, each.parent
            if parent is None or not (parent in coming or self._images.has(parent)):
                continue
            if not self._descends(parent, image_id, found):
                found[image_id] = parent
        return [found.get(each.image.id) for each in pending]

    def _descends(self, image_id: ImageID, ancestor: ImageID, parents: Mapping[ImageID, ImageID]) -> bool:
        """Whether an image is another or is based on it, by `parents` or else by what is recorded."""
        line: dict[ImageID, None] = {}
        wanted: ImageID | None = image_id
        while wanted is not None and wanted != ancestor and wanted not in line:
            line[wanted] = None
            recorded = parents.get(wanted)
            wanted = recorded or read_parents(self._images, [wanted], logger.warning).get(wanted)
        return wanted == ancestor

    def _read_names(self) -> tuple[dict[str, ImageID], bool]:
        """All names, of a document that is damaged those that can be read; and whether it is damaged."""
        problems = Problems(self._layout.root)
        try:
            names = self._layout.read_tags(problems.report)
        except ImgfsError as error:
            problems.report(f"its names cannot be read: {describe(error)}")
            names = {}
        return names, bool(problems)

    def _names(self) -> dict[str, ImageID]:
        """All names, to be written again; a document that is damaged is kept under another name."""
        names, is_damaged = self._read_names()
        if is_damaged:
            self._layout.set_tags_aside()
        return names

    def _identity(self, name: str) -> FileStamp:
        """The stamp of a staged file, which its names share. Raises StoreError or OSError."""
        status = self.folder.stat(name)
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{self.folder.path_of(name)}: not a regular file")
        return FileStamp.of(status)._replace(ctime_ns=0)  # which linking it changes


def file_chunks(file: BinaryIO) -> Iterator[bytes]:
    """What is left of a file, piece by piece."""
    while chunk := file.read(CHUNK):
        yield chunk
