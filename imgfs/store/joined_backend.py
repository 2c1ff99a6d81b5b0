"""Several store backends seen as one that is only read, such as those of an engine's several drivers."""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NoReturn, TypeVar

from imgfs.digest import ImageID
from imgfs.errors import MetadataNotFound, NotFound, StoreError
from imgfs.store.backend import ListsMetadata, StoreBackend

_NOTHING: Mapping[str, bytes] = MappingProxyType({})

T = TypeVar("T")


class JoinedBackend:
    """A `StoreBackend` over `backends`, which may be replaced; what several have is read from the first."""

    def __init__(self, backends: Sequence[StoreBackend]) -> None:
        self.backends = backends

    def walk(self) -> list[ImageID]:
        return sorted({image_id for backend in self.backends for image_id in backend.walk()})

    def get(self, image_id: ImageID) -> bytes:
        absent = NotFound(f"failed to get digest {image_id}: there is none")
        return self._first(lambda backend: backend.get(image_id), absent)

    def get_metadata(self, image_id: ImageID, key: str) -> bytes:
        absent = MetadataNotFound(f"failed to read metadata {key} of {image_id}: there is none")
        return self._first(lambda backend: backend.get_metadata(image_id, key), absent)

    def with_metadata(self) -> Collection[ImageID]:
        """As of `ListsMetadata`; a backend that cannot say has all that it holds."""
        found: set[ImageID] = set()
        for backend in self.backends:
            found.update(backend.with_metadata() if isinstance(backend, ListsMetadata) else backend.walk())
        return found

    def set(self, data: bytes, metadata: Mapping[str, bytes] = _NOTHING) -> ImageID:
        self._refuse(f"failed to write digest data {ImageID.of(data)}")

    def delete(self, image_id: ImageID) -> None:
        self._refuse(f"failed to delete {image_id}")

    def set_metadata(self, image_id: ImageID, key: str, data: bytes) -> None:
        self._refuse(f"failed to write metadata {key} of {image_id}")

    def delete_metadata(self, image_id: ImageID, key: str) -> None:
        self._refuse(f"failed to delete metadata {key} of {image_id}")

    def _first(self, ask: Callable[[StoreBackend], T], absent: NotFound) -> T:
        for backend in self.backends:
            try:
                return ask(backend)
            except NotFound:
                continue
        raise absent

    def _refuse(self, doing: str) -> NoReturn:
        raise StoreError(f"{doing}: it is only read")
