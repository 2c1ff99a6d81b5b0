"""A store backend in memory, for sources that are read-only and find their configs when they are opened."""

from collections.abc import Collection, Mapping
from threading import Lock
from types import MappingProxyType

from isal import isal_zlib

from imgfs.digest import ImageID
from imgfs.errors import MetadataNotFound, NotFound
from imgfs.store.backend import check_content, check_key

_NOTHING: Mapping[str, bytes] = MappingProxyType({})


class MemoryBackend:
    """A `StoreBackend` that forgets everything with the process; configs are compressed, as there may be thousands."""

    def __init__(self) -> None:
        self._configs: dict[ImageID, tuple[bytes, dict[str, bytes]]] = {}
        self._lock = Lock()

    def walk(self) -> list[ImageID]:
        with self._lock:
            return sorted(self._configs)

    def get(self, image_id: ImageID) -> bytes:
        return isal_zlib.decompress(self._find(image_id)[0])

    def set(self, data: bytes, metadata: Mapping[str, bytes] = _NOTHING) -> ImageID:
        check_content(data)
        for key in metadata:
            check_key(key)
        image_id = ImageID.of(data)
        with self._lock:
            packed, values = self._configs.get(image_id) or (isal_zlib.compress(data, 1), {})
            self._configs[image_id] = (packed, {**values, **metadata})
        return image_id

    def delete(self, image_id: ImageID) -> None:
        with self._lock:
            self._find(image_id)
            del self._configs[image_id]

    def set_metadata(self, image_id: ImageID, key: str, data: bytes) -> None:
        check_key(key)
        with self._lock:
            self._find(image_id)[1][key] = data

    def get_metadata(self, image_id: ImageID, key: str) -> bytes:
        check_key(key)
        values = self._find(image_id)[1]
        try:
            return values[key]
        except KeyError:
            raise MetadataNotFound(f"failed to read metadata {key} of {image_id}: there is none") from None

    def with_metadata(self) -> Collection[ImageID]:
        with self._lock:
            return {image_id for image_id, (_, values) in self._configs.items() if values}

    def delete_metadata(self, image_id: ImageID, key: str) -> None:
        check_key(key)
        with self._lock:
            if image_id in self._configs:
                self._configs[image_id][1].pop(key, None)

    def _find(self, image_id: ImageID) -> tuple[bytes, dict[str, bytes]]:
        try:
            return self._configs[image_id]
        except KeyError:
            raise NotFound(f"failed to get digest {image_id}: there is none") from None
