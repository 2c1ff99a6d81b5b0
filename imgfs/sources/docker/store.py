"""Docker's own store, `docker:[ROOT]`, read in place while the engine runs; the engine is not asked.

What lies where is `driver_store`'s. A data root may have been used with several storage drivers; all of their images
are seen, and with them those that it keeps in containerd, whose names come first, as Docker shows them.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from imgfs.blob import Root
from imgfs.digest import ChainID, DiffID, ImageID
from imgfs.errors import ImgfsError, LayerNotFound, NotFound, SourceNotFound, StoreError, describe
from imgfs.layers import Indexer, Layer, LayerChoice, Splits, chain_ids
from imgfs.sources import containerd
from imgfs.sources.docker.containers import Containers, SnapshotRecords
from imgfs.sources.docker.driver_store import FILES, DriverStore, drivers
from imgfs.sources.docker.places import data_root, places
from imgfs.sources.finder import Check, Finder, Found, LayerRef, Report, ignore
from imgfs.sources.imagedb import ImageDatabase
from imgfs.sources.joined_finder import JoinedFinder
from imgfs.sources.kind import DirectoryKind
from imgfs.store import FSBackend, Image, JoinedBackend, StoreBackend
from imgfs.store.timestamp import parse_time

logger = logging.getLogger("imgfs")

# The engine writes an image's config first and its parent after that, synced to disk each; a change is followed
# until this long after it.
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class _LayerRef:
    """A layer by its chain ID, in whichever of some storage drivers has it."""

    key: tuple[ChainID, tuple[str, ...]]
    stores: Sequence[DriverStore]
    splits: Splits

    def resolve(self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, indexer: Indexer) -> Layer:
        found: list[Layer] = []
        errors: list[Exception] = []
        for store in self.stores:
            try:
                found.append(store.layer(chain_id, diff_id, parent, self.splits))
            except LayerNotFound as error:
                errors.append(error)
            except (ImgfsError, OSError) as error:  # another driver may have it, too
                errors.insert(0, error)
        if not found:
            raise errors[0]
        return found[0] if len(found) == 1 else LayerChoice(found[0], lambda: found[1:])


class DockerFinder(Finder):
    """Every image in the classic image stores of a data root, and the containers made of them."""

    def __init__(self, root: Root, reference: str) -> None:
        self.reference = reference
        self.folders = (root.path,)
        self.writers = frozenset({root.writer})
        self._root = root
        self._images = ImageDatabase()
        self._containers = Containers(root)
        self._splits = Splits()
        self._drivers: tuple[str, ...] = ()

    def find(self, report: Report) -> Iterator[Found]:
        stores, backends = self._stores(report)
        names = tuple(store.driver for store in stores)
        if names != self._drivers:
            self._drivers, self._images = names, ImageDatabase()

        def read_names(report: Report) -> dict[str, ImageID]:
            return _read_names(stores, report)

        @cache
        def layer(chain_id: ChainID) -> LayerRef:
            return _LayerRef((chain_id, names), stores, self._splits)

        def layers(image: Image) -> Sequence[LayerRef]:
            return tuple(map(layer, chain_ids(image.diff_ids)))

        yield from self._images.find(JoinedBackend(backends), read_names, layers, report)
        yield from self._containers.find({store.driver: store for store in stores}, layer, report)

    def stamp(self) -> object:
        """As of `Finder`; differs at every call while the last change is recent."""
        self._root.follow()
        return self._root.stamp(self._watched(), _SETTLED_NS)

    def watched(self) -> Iterable[str]:
        return map(self._root.path_of, ("", *self._watched()))

    def _watched(self) -> Sequence[str]:
        watched = (name for driver in drivers(self._root) for name in DriverStore(self._root, driver).watched)
        return ["image", *watched, *self._containers.watched]

    def checks(self) -> Iterable[Check]:
        return self._images.checks()

    def last_updated(self, image_id: ImageID) -> datetime | None:
        try:
            data = JoinedBackend(self._stores(ignore)[1]).get_metadata(image_id, "lastUpdated")
        except NotFound:
            return None
        return parse_time(data.decode("ascii", "replace"))

    def close(self) -> None:
        self._root.close()

    def _stores(self, report: Report) -> tuple[list[DriverStore], list[StoreBackend]]:
        """What each driver that can be read has, and its configs; the others are reported."""
        stores: list[DriverStore] = []
        backends: list[StoreBackend] = []
        for driver in drivers(self._root):
            store = DriverStore(self._root, driver)
            try:
                if driver not in FILES:
                    raise StoreError("layers of this storage driver cannot be read")
                backends.append(FSBackend(store.imagedb, read_only=True))
                stores.append(store)
            except StoreError as error:
                report(f"skipping the images of driver {driver}: {error}")
        return stores, backends


def is_docker_root(root: Root) -> bool:
    """Whether a directory is a data root of Docker, with either kind of image store."""
    return bool(places(root.path, is_data_root=True))


def _finder(path: str) -> Finder:
    """Finds the images of the data root `path` or of the machine at `path`, by default of this machine.

    Raises SourceNotFound if there are no images of Docker, StoreError or OSError if it cannot be read.
    """
    root = Root(path or data_root("/"))
    reference = f"docker:{root.path}"
    finders: list[Finder] = []
    for place in places(root.path):
        if place.containerd is not None:
            inner, namespace = place.containerd, place.namespace
            logger.info("%s: has images in containerd at %s, namespace %s", reference, inner.path, namespace)
            records = SnapshotRecords(place.root, namespace)
            finders.append(containerd.docker_finder(inner, reference, namespace, records))
        if place.classic:
            finders.append(DockerFinder(place.root, reference))
    if not finders:
        raise SourceNotFound(f"{root.path}: no image store of Docker there")
    return finders[0] if len(finders) == 1 else JoinedFinder(finders)


def _read_names(stores: Sequence[DriverStore], report: Report) -> dict[str, ImageID]:
    """The names that all drivers have, those of earlier ones first."""
    names: dict[str, ImageID] = {}
    for store in stores:
        try:
            names = store.read_names(report) | names
        except (ImgfsError, OSError) as error:
            report(f"names of driver {store.driver} are not known: {describe(error)}")
    return names


KIND = DirectoryKind(_finder, is_docker_root)
