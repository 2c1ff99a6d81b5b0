"""Docker's own store, `docker:[ROOT]`, read in place while the engine runs; the engine is not asked.

What lies where is `docker_root`'s. A data root may have been used with several storage drivers; all of their
images are seen.
"""

import os
from collections.abc import Mapping, Sequence

from imgfs.digest import ChainID, ImageID
from imgfs.errors import ImgfsError, LayerNotFound, SourceNotFound, StoreError
from imgfs.layers import Indexer, Layer, LayerChoice, LayerRegistry, Splits
from imgfs.sources import containerd
from imgfs.sources.docker_root import FILES, DriverStore, drivers
from imgfs.sources.source import Source
from imgfs.sources.young import now_while_young
from imgfs.store import FSBackend, ImageStore, JoinedBackend, Problem, Problems, StoreBackend

DEFAULT_ROOT = "/var/lib/docker"
_SYSTEM_CONTAINERD = "/var/lib/containerd"
_CONTENT = "io.containerd.content.v1.content"

# The engine writes an image's config first and its parent after that, synced to disk each; a change is followed
# until this long after it.
_SETTLED_NS = 2_000_000_000


def is_docker_root(path: str) -> bool:
    """Whether `path` is a data root of Docker, with either kind of image store."""
    return bool(drivers(path)) or containerd_root(path) is not None


def containerd_root(root: str) -> str | None:
    """The root of the containerd that keeps images for the Docker whose data root this is; None if none can.

    Docker runs a containerd of its own there where the system has none.
    """
    places = [_own_containerd(root)]
    if root == DEFAULT_ROOT and os.path.isdir(root):
        places.append(_SYSTEM_CONTAINERD)
    return next((path for path in places if os.path.isdir(os.path.join(path, _CONTENT))), None)


def open_store(root: str, indexer: Indexer) -> Source:
    """Open the data root `root`, by default Docker's own.

    Raises SourceNotFound if there are no images of Docker, OSError if it cannot be read.
    """
    root = os.path.abspath(root or DEFAULT_ROOT)
    if not drivers(root):
        path = containerd_root(root)
        if path is not None:
            return containerd.open_docker(path, f"docker:{root}", indexer)
        raise SourceNotFound(f"{root}: no image store of Docker there")
    return DockerStore(root)


class DockerStore(Source):
    """The classic image stores of a data root as they are now, and after `refresh`."""

    def __init__(self, root: str) -> None:
        self.reference = f"docker:{root}"
        self.folder = root
        self._root = root
        self._splits = Splits()
        self._problems = Problems(self.reference)
        self._seen = self._stamp()
        self._drivers = self._find_drivers()
        self._tags = self._read_tags()
        self._backend = JoinedBackend([backend for _, backend in self._drivers])
        self.layers = LayerRegistry(self._find_layer)
        self.store = ImageStore(self._backend, self.layers)

    @property
    def tags(self) -> Mapping[str, ImageID]:
        return {name: image_id for name, image_id in self._tags.items() if image_id in self.store}

    @property
    def problems(self) -> Sequence[Problem]:
        return [*self._problems, *self.store.problems]

    def refresh(self) -> bool:
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        tags, self._problems = self._tags, self._problems.begin()
        self._drivers = self._find_drivers()
        self._tags = self._read_tags()
        self._backend.backends = [backend for _, backend in self._drivers]
        changed = self.store.refresh()
        self._seen = stamp
        return changed or tags != self._tags

    def _stamp(self) -> tuple[object, ...]:
        """Changes when the images may have; while the last change is young, at every call."""
        times: list[int] = []
        parts: list[object] = []
        for path in self._watched():
            try:
                status = os.stat(path)
            except FileNotFoundError:
                parts.append(None)
                continue
            times.append(status.st_mtime_ns)
            parts.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return (*parts, now_while_young(times, _SETTLED_NS))

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
                self._problems.report(f"skipping the images of driver {driver}: {error}")
        own = _own_containerd(self._root)
        if os.path.isdir(
            os.path.join(own, _CONTENT, "blobs")
        ):  # not there while all it does is run containers
            self._problems.note(
                f"images that Docker keeps in containerd are not shown here: containerd:{own}#moby"
            )
        return found

    def _read_tags(self) -> dict[str, ImageID]:
        tags: dict[str, ImageID] = {}
        for store, _ in self._drivers:
            try:
                tags = store.read_tags() | tags
            except (ImgfsError, OSError) as error:
                self._problems.report(f"names of driver {store.driver} are not known: {error}")
        return tags

    def _find_layer(self, chain_id: ChainID) -> Layer:
        found: list[Layer] = []
        errors: list[Exception] = []
        for store, _ in self._drivers:
            try:
                found.append(store.layer(chain_id, self._splits))
            except LayerNotFound:
                continue
            except (ImgfsError, OSError) as error:  # another driver may have it, too
                errors.append(error)
        if found:
            return found[0] if len(found) == 1 else LayerChoice(found[0], lambda: found[1:])
        if errors:
            raise errors[0]
        raise LayerNotFound(f"{self.reference}: no layer with chain ID {chain_id}")


def _own_containerd(root: str) -> str:
    return os.path.join(root, "containerd", "daemon")
