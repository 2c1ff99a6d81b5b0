"""The image store: which images there are, who is based on whom, and the layers they hold.

Behaves as moby's image store does. What is kept is the backend's and layers are the provider's; this knows
the IDs and links of the images that are there, and holds the layers of each. One lock guards that; it is not
held while layers are opened or read.
"""

import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from threading import RLock
from types import MappingProxyType
from typing import BinaryIO

from imgfs.blob import BlobStream
from imgfs.digest import ImageID
from imgfs.errors import ImageNotFound, ImgfsError, InvalidImage, MetadataNotFound, NotFound, describe
from imgfs.layers import LayerMetadata, LayerProvider
from imgfs.store.backend import StoreBackend
from imgfs.store.digest_index import DigestIndex
from imgfs.store.family import Family
from imgfs.store.image import Image
from imgfs.store.layer_stack import LayerStack
from imgfs.store.platform import Platform
from imgfs.store.problems import Problem
from imgfs.store.restore import Restorer
from imgfs.store.timestamp import format_time, parse_time
from imgfs.tar import TarBlob

logger = logging.getLogger("imgfs")

_READ_AHEAD = 128 << 10  # bytes
_NOTHING: Mapping[ImageID, Image] = MappingProxyType({})


class ImageStore:
    """The images in `backend`, their layers taken from `layers`. Safe to use from several threads.

    With a `platform`, which may be written as `Platform.parse` reads it, only images for that can be created.
    Configs that do not parse are logged and left out. An image whose layers are missing is there, but its tar
    is not.
    """

    def __init__(
        self, backend: StoreBackend, layers: LayerProvider, platform: Platform | str | None = None
    ) -> None:
        self._backend = backend
        self._layers = layers
        self._platform = Platform.parse(platform) if isinstance(platform, str) else platform
        self._images: dict[ImageID, LayerStack] = {}
        self._restored: dict[ImageID, Image] = {}  # as read by a refresh, until they are asked for
        self._index = DigestIndex()
        self._family = Family({})
        self._restorer = Restorer(backend)
        self._lock = RLock()
        self.refresh()

    def __len__(self) -> int:
        return len(self._images)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._images

    @property
    def problems(self) -> Sequence[Problem]:
        """What is broken in the backend or missing, as found since the last `refresh` began, a line each."""
        with self._lock:
            return self._restorer.problems

    def create(self, config: bytes, *, parent: ImageID | None = None) -> ImageID:
        """Keep an image and, if given, its parent, in one step. Its layers have to be there already.

        Creating what is there changes nothing but the parent. Raises InvalidImage for a config that does not
        parse, does not fit its own history or is for another platform, and for a parent that is based on the
        image; NotFound for a parent that is not there; LayerNotFound. Nothing is kept then.
        """
        image = Image.from_config(config)
        self._check(image)
        with self._lock, ExitStack() as undo:
            if parent is not None:
                self._check_parent(image.id, parent)
            stack = self._images.get(image.id) or LayerStack(self._layers, image.diff_ids)
            if stack.take():
                undo.callback(stack.release)
            self._backend.set(config, {} if parent is None else {"parent": parent.encode()})
            undo.pop_all()
            self._add(image.id, stack)
            if parent is not None:
                self._family.set_parent(image.id, parent)
        return image.id

    def get(self, image_id: ImageID) -> Image:
        """An image, its config read and verified again.

        Raises NotFound ("failed to get digest"), Corrupt ("failed to verify") or InvalidImage.
        """
        return Image.from_config(self._backend.get(image_id), self._family.parents.get(image_id))

    def get_tar_seek_stream(self, image_id: ImageID) -> BinaryIO:
        """The image's layer tars end to end, byte for byte, as a seekable stream.

        Stays readable until it is closed, even if the image is deleted. Raises what `open_layers` does.
        """
        return io.BufferedReader(BlobStream(self._stack(image_id).open_held()), _READ_AHEAD)

    def open_layers(self, image_id: ImageID, *, tolerant: bool = False) -> list[TarBlob]:
        """The tars of the image's layers, bottom first; the caller closes them.

        Raises ImageNotFound; LayerNotFound, or what `Layer.open` raises, if a layer is not there. With `tolerant`,
        such a layer's tar raises that whenever it is read, and the others can be.
        """
        return self._stack(image_id).open(tolerant=tolerant)

    def layers(self, image_id: ImageID) -> LayerStack:
        """The image's layers, for looking at one by one. Raises ImageNotFound."""
        return self._stack(image_id)

    def known_tar_size(self, image_id: ImageID) -> int | None:
        """The size in bytes of the image's layer tars end to end if it is in memory, else None.

        Never blocks. Raises ImageNotFound.
        """
        return self._stack(image_id).known_size

    def delete(self, image_id: ImageID) -> list[LayerMetadata]:
        """Remove an image; its children have no parent then. Returns the layers that are not referred to any more.

        Raises ImageNotFound.
        """
        with self._lock:
            self._stack(image_id)
            try:
                self._backend.delete(image_id)
            except NotFound:
                logger.debug("image %s: another process deleted it", image_id)
            for child in self._family.children(image_id):
                self._family.set_parent(child, None)
                try:
                    self._backend.delete_metadata(child, "parent")
                except ImgfsError as error:  # it is gone for all that
                    logger.warning("image %s: its deleted parent stays recorded: %s", child, error)
            return self._forget(image_id)

    def search(self, partial: str) -> ImageID:
        """The image whose ID begins with `partial`, which may have `sha256:` before it.

        Raises ImageNotFound if there is none, AmbiguousID if there are several.
        """
        with self._lock:
            return ImageID(self._index.search(partial))

    def set_parent(self, image_id: ImageID, parent: ImageID) -> None:
        """Make an image a child of another, and of that one only.

        Raises ImageNotFound; NotFound if the parent is not there; InvalidImage if that is based on the image.
        """
        with self._lock:
            self._stack(image_id)
            self._check_parent(image_id, parent)
            self._backend.set_metadata(image_id, "parent", parent.encode())
            self._family.set_parent(image_id, parent)

    def get_parent(self, image_id: ImageID) -> ImageID:
        """The recorded parent of an image, be that there or not. Raises MetadataNotFound if there is none."""
        try:
            return self._family.parents[image_id]
        except KeyError:
            raise MetadataNotFound(f"failed to read metadata parent of {image_id}: there is none") from None

    def set_last_updated(self, image_id: ImageID) -> None:
        """Record that an image was updated now. Raises what `StoreBackend.set_metadata` does."""
        self._backend.set_metadata(image_id, "lastUpdated", format_time(datetime.now(UTC)).encode())

    def get_last_updated(self, image_id: ImageID) -> datetime | None:
        """When an image was last updated, in UTC; None if that is not recorded."""
        try:
            return parse_time(self._backend.get_metadata(image_id, "lastUpdated").decode("ascii", "replace"))
        except NotFound:
            return None

    def children(self, image_id: ImageID) -> list[ImageID]:
        """The images whose parent is this one, sorted; none if it is not there."""
        with self._lock:
            return self._family.children(image_id) if image_id in self._images else []

    def map(self, known: Mapping[ImageID, Image] = _NOTHING) -> dict[ImageID, Image]:
        """Every image that can be read, sorted by ID; the others are logged.

        Configs of the images in `known` are not read again, nor those that were read since the call before.
        """
        with self._lock:
            image_ids = list(self._images)
        return self._read(image_ids, known)

    def heads(self) -> dict[ImageID, Image]:
        """The images of `map` that have no children."""
        with self._lock:
            image_ids = [image_id for image_id in self._images if not self._family.children(image_id)]
        return self._read(image_ids)

    def refresh(self) -> bool:
        """Follow what others did to the backend and the layers; returns whether that changed anything here.

        Raises StoreError if the backend cannot be walked.
        """
        with self._lock:
            there = self._backend.walk()
            self._restorer.begin()
            gone = self._images.keys() - set(there)
            for image_id in gone:
                self._forget(image_id)
            restored = sum(self._restore(image_id) for image_id in there if image_id not in self._images)
            if restored:
                self._index = DigestIndex(self._images)  # sooner made than added to thousands of times
            completed = sum(self._complete(image_id) for image_id in self._images)
            family, before = Family(self._restorer.parents(self._images)), self._family
            self._family = family
            return bool(gone or restored or completed or family.parents != before.parents)

    def close(self) -> None:
        """Release all layers; the store is empty then. Streams that are open stay readable."""
        with self._lock:
            for image_id in list(self._images):
                self._forget(image_id)

    def _check(self, image: Image) -> None:
        image.check_history()
        if self._platform is not None and not self._platform.accepts(image.platform):
            raise InvalidImage(f"image {image.id} is for {image.platform}, not for {self._platform}")

    def _check_parent(self, image_id: ImageID, parent: ImageID) -> None:
        if parent not in self._images:
            raise NotFound(f"unknown parent image ID {parent}")
        if self._family.descends(parent, image_id):
            raise InvalidImage(f"image {image_id} cannot have the parent {parent}, which is based on it")

    def _stack(self, image_id: ImageID) -> LayerStack:
        try:
            return self._images[image_id]
        except KeyError:
            raise ImageNotFound(image_id) from None

    def _add(self, image_id: ImageID, stack: LayerStack) -> None:
        self._images[image_id] = stack
        self._index.add(image_id)

    def _restore(self, image_id: ImageID) -> bool:
        image = self._restorer.image(image_id)
        if image is not None:
            self._images[image_id] = LayerStack(self._layers, image.diff_ids)
            self._restored[image_id] = image
        return image is not None

    def _complete(self, image_id: ImageID) -> bool:
        """Take the layers of an image, if they are there; returns whether that is new."""
        try:
            return self._images[image_id].take()
        except (ImgfsError, OSError) as error:
            self._restorer.report(f"image {image_id}: its layers are missing: {describe(error)}")
            return False

    def _forget(self, image_id: ImageID) -> list[LayerMetadata]:
        self._restored.pop(image_id, None)
        self._index.remove(image_id)
        self._family.set_parent(image_id, None)
        return self._images.pop(image_id).release()

    def _read(
        self, image_ids: Iterable[ImageID], known: Mapping[ImageID, Image] = _NOTHING
    ) -> dict[ImageID, Image]:
        images = {}
        for image_id in sorted(image_ids):
            parent = self._family.parents.get(image_id)
            image = known.get(image_id) or self._restored.pop(image_id, None)
            if image is None:
                image = self._restorer.image(image_id, parent)
            elif image.parent != parent:
                image = replace(image, parent=parent)
            if image is not None:
                images[image_id] = image
        return images
