"""Docker's own store, `docker:[ROOT]`, read in place while the engine runs; the engine is not asked.

What lies where is `docker_root`'s. A data root may have been used with several storage drivers; all of their
images are seen.
"""

from collections.abc import Iterable, Mapping, Sequence

from imgfs.blob import Root
from imgfs.digest import ChainID, ImageID
from imgfs.errors import ImgfsError, LayerNotFound, SourceNotFound, StoreError, describe
from imgfs.layers import Indexer, Layer, LayerChoice, LayerRegistry, Splits
from imgfs.sources import containerd
from imgfs.sources.checks import recorded_parents
from imgfs.sources.docker.driver_store import FILES, DriverStore, drivers
from imgfs.sources.repositories import report_absent, with_names
from imgfs.sources.source import Check, Source
from imgfs.sources.young import now_while_young
from imgfs.store import FSBackend, ImageStore, JoinedBackend, Problem, Problems, StoreBackend

DEFAULT_ROOT = "/var/lib/docker"
_SYSTEM_CONTAINERD = "/var/lib/containerd"
_OWN_CONTAINERD = "containerd/daemon"
_CONTENT = "io.containerd.content.v1.content"

# The engine writes an image's config first and its parent after that, synced to disk each; a change is followed
# until this long after it.
_SETTLED_NS = 2_000_000_000


def is_docker_root(path: str) -> bool:
    """Whether `path` is a data root of Docker, with either kind of image store."""
    return bool(drivers(Root(path))) or containerd_root(path) is not None


def containerd_root(path: str) -> Root | None:
    """The root of the containerd that keeps images for the Docker with the data root `path`; None if none can.

    Docker runs a containerd of its own there where the system has none.
    """
    root = Root(path)
    places = [root.below(_OWN_CONTAINERD)]
    if path == DEFAULT_ROOT and root.is_directory():
        places.append(Root(_SYSTEM_CONTAINERD))
    return next((place for place in places if place.is_directory(_CONTENT)), None)


def open_store(path: str, indexer: Indexer) -> Source:
    """Open the data root `path`, by default Docker's own.

    Raises SourceNotFound if there are no images of Docker, StoreError or OSError if it cannot be read.
    """
    root = Root(path or DEFAULT_ROOT)
    if not drivers(root):
        inner = containerd_root(root.path)
        if inner is not None:
            return containerd.open_docker(inner, f"docker:{root.path}", indexer)
        raise SourceNotFound(f"{root.path}: no image store of Docker there")
    return DockerStore(root)


class DockerStore(Source):
    """The classic image stores of a data root as they are now, and after `refresh`."""

    def __init__(self, root: Root) -> None:
        self.reference = f"docker:{root.path}"
        self.folder = root.path
        self.writers = frozenset({root.writer})
        self._root = root
        self._splits = Splits()
        self._problems = Problems(self.reference)
        self._seen = self._stamp()
        self._drivers = self._find_drivers()
        self._tags = self._read_tags()
        self._backend = JoinedBackend([backend for _, backend in self._drivers])
        self.layers = LayerRegistry(self._find_layer)
        self.store = ImageStore(self._backend, self.layers)
        report_absent(self.store, self._tags, self._read_tags, self._problems.report)

    @property
    def tags(self) -> Mapping[str, ImageID]:
        return {name: image_id for name, image_id in self._tags.items() if image_id in self.store}

    @property
    def problems(self) -> Sequence[Problem]:
        return with_names([*self._problems, *self.store.problems], self._tags)

    def checks(self) -> Iterable[Check]:
        return recorded_parents(self.store)

    def refresh(self) -> bool:
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        tags, self._problems = self._tags, self._problems.begin()
        self._drivers = self._find_drivers()
        self._tags = self._read_tags()
        self._backend.backends = [backend for _, backend in self._drivers]
        changed = self.store.refresh()
        report_absent(self.store, self._tags, self._read_tags, self._problems.report)
        self._seen = stamp
        return changed or tags != self._tags

    def close(self) -> None:
        self._root.close()

    def _stamp(self) -> tuple[object, ...]:
        """Changes when the images may have; while the last change is young, at every call."""
        times: list[int] = []
        parts: list[object] = []
        self._root.follow()
        for name in self._watched():
            try:
                status = self._root.stat(name)
            except (FileNotFoundError, StoreError):
                parts.append(None)
                continue
            times.append(status.st_mtime_ns)
            parts.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return (*parts, now_while_young(times, _SETTLED_NS))

    def _watched(self) -> list[str]:
        names = ["image"]
        for driver in drivers(self._root):
            names += DriverStore(self._root, driver).watched
        return names

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
        own = self._root.below(_OWN_CONTAINERD)
        if own.is_directory(f"{_CONTENT}/blobs"):  # not there while all it does is run containers
            self._problems.note(
                f"images that Docker keeps in containerd are not shown here: containerd:{own.path}#moby"
            )
        return found

    def _read_tags(self) -> dict[str, ImageID]:
        tags: dict[str, ImageID] = {}
        for store, _ in self._drivers:
            try:
                tags = store.read_tags(self._problems.report) | tags
            except (ImgfsError, OSError) as error:
                self._problems.report(f"names of driver {store.driver} are not known: {describe(error)}")
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
