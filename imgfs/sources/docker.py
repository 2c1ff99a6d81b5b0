"""Docker's own store, `docker:[ROOT]`, read in place while the engine runs; the engine is not asked.

What lies where is `docker_root`'s. A data root may have been used with several storage drivers; all of their
images are seen.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, TypeVar

from imgfs.digest import ChainID, ImageID
from imgfs.errors import ImgfsError, LayerNotFound, MetadataNotFound, NotFound, StoreError
from imgfs.layers import Indexer, Layer, LayerRegistry, Splits
from imgfs.sources.docker_root import FILES, DriverStore, drivers
from imgfs.sources.source import Source
from imgfs.store import FSBackend, ImageStore, StoreBackend

logger = logging.getLogger("imgfs")

DEFAULT_ROOT = "/var/lib/docker"

# The engine writes an image's config first and its parent after that, synced to disk each; a change is followed
# until this long after it.
_SETTLED_NS = 2_000_000_000

T = TypeVar("T")


def is_docker_root(path: str) -> bool:
    """Whether `path` is a data root of Docker, with either kind of image store."""
    return bool(drivers(path)) or containerd_root(path) is not None


def containerd_root(root: str) -> str | None:
    """Where the containerd that Docker runs for itself keeps images; None if this data root has none such."""
    path = os.path.join(root, "containerd", "daemon")
    return path if os.path.isdir(os.path.join(path, "io.containerd.content.v1.content")) else None


def open_store(root: str, indexer: Indexer) -> Source:
    """Open the data root `root`, by default Docker's own.

    Raises StoreError if there are no images of Docker, OSError if it cannot be read.
    """
    root = os.path.abspath(root or DEFAULT_ROOT)
    if not drivers(root):
        path = containerd_root(root)
        if path is not None:
            return _open_containerd(root, path, indexer)
        raise StoreError(f"{root}: no image store of Docker there")
    return DockerStore(root)


def _open_containerd(root: str, path: str, indexer: Indexer) -> Source:
    """The images of Docker's containerd at `path`, which are in the namespace `moby`."""
    raise StoreError(f"{root}: this Docker keeps its images in containerd: containerd:{path}#moby")


class DockerStore(Source):
    """The classic image stores of a data root as they are now, and after `refresh`."""

    def __init__(self, root: str) -> None:
        self.reference = f"docker:{root}"
        self._root = root
        self._splits = Splits()
        self._problems: list[str] = []
        self._reported: set[str] = set()
        self._seen = self._stamp()
        self._drivers = self._find_drivers()
        self._tags = self._read_tags()
        self._backend = _Databases([backend for _, backend in self._drivers])
        self.layers = LayerRegistry(self._find_layer)
        self.store = ImageStore(self._backend, self.layers)

    @property
    def tags(self) -> Mapping[str, ImageID]:
        images = self.store.map()
        return {name: image_id for name, image_id in self._tags.items() if image_id in images}

    @property
    def problems(self) -> Sequence[str]:
        return self._problems

    def refresh(self) -> bool:
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        tags, self._problems = self._tags, []
        self._drivers = self._find_drivers()
        self._tags = self._read_tags()
        self._backend.databases = [backend for _, backend in self._drivers]
        changed = self.store.refresh()
        self._seen = stamp
        return changed or tags != self._tags

    def _stamp(self) -> tuple[object, ...]:
        """Changes when the images may have; while the last change is young, at every call."""
        newest = 0
        parts: list[object] = []
        for path in self._watched():
            try:
                status = os.stat(path)
            except FileNotFoundError:
                parts.append(None)
                continue
            newest = max(newest, status.st_mtime_ns)
            parts.append((status.st_mtime_ns, status.st_ino, status.st_size))
        now = time.time_ns()
        return (*parts, now if abs(now - newest) < _SETTLED_NS else 0)

    def _watched(self) -> list[str]:
        paths = [os.path.join(self._root, "image")]
        for driver in drivers(self._root):
            paths += DriverStore(self._root, driver).watched
        return paths

    def _find_drivers(self) -> list[tuple[DriverStore, StoreBackend]]:
        found: list[tuple[DriverStore, StoreBackend]] = []
        for driver in drivers(self._root):
            store = DriverStore(self._root, driver)
            try:
                if driver not in FILES:
                    raise StoreError("layers of this storage driver cannot be read")
                found.append((store, FSBackend(store.imagedb, read_only=True)))
            except StoreError as error:
                self._report(f"skipping the images of driver {driver}: {error}")
        return found

    def _read_tags(self) -> dict[str, ImageID]:
        tags: dict[str, ImageID] = {}
        for store, _ in self._drivers:
            try:
                tags = store.read_tags() | tags
            except (ImgfsError, OSError) as error:
                self._report(f"names of driver {store.driver} are not known: {error}")
        return tags

    def _find_layer(self, chain_id: ChainID) -> Layer:
        for store, _ in self._drivers:
            try:
                return store.layer(chain_id, self._splits)
            except LayerNotFound:
                continue
        raise LayerNotFound(f"{self.reference}: no layer with chain ID {chain_id}")

    def _report(self, problem: str) -> None:
        self._problems.append(problem)
        if problem not in self._reported:
            self._reported.add(problem)
            logger.warning("%s: %s", self.reference, problem)


class _Databases:
    """Several store backends, which may be replaced, seen as one that is only read; earlier ones go first."""

    def __init__(self, databases: Sequence[StoreBackend]) -> None:
        self.databases = databases

    def walk(self) -> list[ImageID]:
        return sorted({image_id for database in self.databases for image_id in database.walk()})

    def get(self, image_id: ImageID) -> bytes:
        absent = NotFound(f"failed to get digest {image_id}: there is none")
        return self._first(lambda database: database.get(image_id), absent)

    def get_metadata(self, image_id: ImageID, key: str) -> bytes:
        absent = MetadataNotFound(f"failed to read metadata {key} of {image_id}: there is none")
        return self._first(lambda database: database.get_metadata(image_id, key), absent)

    def set(self, data: bytes, metadata: Mapping[str, bytes] = {}) -> ImageID:
        self._refuse()

    def delete(self, image_id: ImageID) -> None:
        self._refuse()

    def set_metadata(self, image_id: ImageID, key: str, data: bytes) -> None:
        self._refuse()

    def delete_metadata(self, image_id: ImageID, key: str) -> None:
        self._refuse()

    def _first(self, ask: Callable[[StoreBackend], T], absent: NotFound) -> T:
        for database in self.databases:
            try:
                return ask(database)
            except NotFound as error:
                absent = error
        raise absent

    def _refuse(self) -> NoReturn:
        raise StoreError("the store of another engine is only read")
