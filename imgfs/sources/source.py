"""What a source is, once open: an image store, names for its images, the layers that the store holds, and containers.

Everything is derived from what a `Finder` finds and follows that when the place changes.
Tried by the tests that every source runs through.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from imgfs.digest import ImageID
from imgfs.layers import Indexer, LayerRegistry
from imgfs.sources.catalog import Catalog
from imgfs.sources.container_layers import ContainerLayers
from imgfs.sources.content_store import ContentStore
from imgfs.sources.finder import Artifact, BlobRef, Check, Finder, FoundContainer
from imgfs.store import ImageStore, KeptDocument, LayerStack, MemoryBackend, Problem

logger = logging.getLogger("imgfs")


class Source:
    """One place that images come from, which `finder` looks into; owns the finder. Safe to use from several threads.

    `reference`, `folders` and `writers` are the finder's. `layers` is where `store` takes its layers from.
    """

    def __init__(self, finder: Finder, indexer: Indexer) -> None:
        self.reference = finder.reference
        self.folders = finder.folders
        self.writers = finder.writers
        self._finder = finder
        self._indexer = indexer
        self._is_lost = False
        self._backend = MemoryBackend()
        self._catalog = Catalog(self.reference, indexer)
        self._seen = finder.stamp()
        self._look()
        self.layers = LayerRegistry(lambda chain_id: self._catalog.layer(chain_id))
        self.store = ImageStore(self._backend, self.layers)

    @property
    def tags(self) -> Mapping[str, ImageID]:
        """Names of images in this source; every image named is in `store`."""
        return self._catalog.tags

    @property
    def aliases(self) -> Mapping[str, ImageID]:
        """Names that are looked up and not listed, see `FoundImage`."""
        return self._catalog.aliases

    @property
    def derived_parents(self) -> Mapping[ImageID, ImageID]:
        """The parents that the place's engine derives, see `DerivedParents`; `store` has those that are recorded."""
        return self._catalog.derived_parents

    @property
    def problems(self) -> Sequence[Problem]:
        """What is broken in the place and was skipped; logged when it was found."""
        return [*self.store.problems, *self._catalog.problems]

    @property
    def artifacts(self) -> Sequence[Artifact]:
        """What is in this source and is no image."""
        return self._catalog.artifacts

    @property
    def containers(self) -> Mapping[str, FoundContainer]:
        """The containers in this source, by ID."""
        return self._catalog.containers

    def container_layers(self, found: FoundContainer) -> LayerStack:
        """The layers of a container as they are now: those of its image, and its own, which are read again each time.

        What is missing is reported when it is used.
        """
        layers = ContainerLayers(found, self.layers, self._indexer)
        return LayerStack(layers, layers.diff_ids)

    def manifest(self, image_id: ImageID) -> bytes | None:
        """The exact bytes of the image's manifest, None where the source has none."""
        manifest = self._catalog.manifest(image_id)
        return None if manifest is None else manifest.read()

    def manifest_document(self, image_id: ImageID) -> KeptDocument | None:
        """The same as it is kept, the same object as long as it was not found again."""
        return self._catalog.manifest(image_id)

    def stored_blobs(self, image_id: ImageID) -> Sequence[BlobRef] | None:
        """The stored blob of each layer of an image, bottom first; None if one is kept in another way. Never blocks."""
        return self._catalog.stored_blobs(image_id)

    @property
    def content(self) -> ContentStore | None:
        """What the place stores by digest, to be copied as it is; None where it keeps no manifests and blobs."""
        return self._finder if isinstance(self._finder, ContentStore) else None

    def last_updated(self, image_id: ImageID) -> datetime | None:
        """When an image was last tagged or changed, in UTC, where the place records that. May block."""
        return self._finder.last_updated(image_id)

    def refresh(self) -> bool:
        """Follow changes of the place; returns whether there were any.

        Cheap when nothing has changed. Raises ImgfsError or OSError when the place cannot be read any more, and
        leaves what was known as it was.
        """
        stamp = self._finder.stamp()
        if stamp == self._seen:
            return False
        before = self._catalog
        self._look()
        self._seen = stamp
        self._indexer.forget()
        self.layers.renew()
        return self.store.refresh() or not self._catalog.is_as(before)

    def watched(self) -> Iterable[str] | None:
        """The files and directories that change with the place, see `Finder.watched`."""
        return self._finder.watched()

    def checks(self) -> Iterable[Check]:
        """What can be checked besides the images' configs and layers. Raises ImgfsError or OSError."""
        return self._finder.checks()

    def report_lost(self, why: str) -> None:
        """Log why the place cannot be read any more, unless that was done since it last could be."""
        if not self._is_lost:
            self._is_lost = True
            logger.warning("%s: what it lies on is gone: %s", self.reference, why)

    def find_again(self) -> None:
        """Note that the place can be read."""
        self._is_lost = False

    def close(self) -> None:
        """Close files; blobs that are open stay readable."""
        self._finder.close()

    def _look(self) -> None:
        before, after = self._catalog, Catalog(self.reference, self._indexer, self._catalog)
        after.read(self._finder.find(after.problems.report))
        for image_id in before.images.keys() - after.images.keys():
            self._backend.delete(image_id)
        for image_id in after.images.keys() - before.images.keys():
            self._backend.add(after.images[image_id])
        for image_id, _ in before.parents.items() - after.parents.items():
            self._backend.delete_metadata(image_id, "parent")
        for image_id, parent in after.parents.items() - before.parents.items():
            self._backend.set_metadata(image_id, "parent", parent.encode())
        self._catalog = after
