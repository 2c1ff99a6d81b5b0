"""A store backend in memory, for sources that are read-only and find their configs when they are opened.

Tried by the tests that every backend runs through.
"""

from collections.abc import Collection, Mapping
from threading import Lock
from types import MappingProxyType

from imgfs.digest import ImageID
from imgfs.errors import MetadataNotFound, NotFound
from imgfs.store.backend import check_content, check_key
from imgfs.store.image import Image
from imgfs.store.kept_document import DocumentPacker, KeptDocument

_NOTHING: Mapping[str, bytes] = MappingProxyType({})


class MemoryBackend:
    """A `StoreBackend` that forgets everything with the process."""

    def __init__(self) -> None:
        self._configs: dict[ImageID, KeptDocument | Image] = {}
        self._packer = DocumentPacker()
        self._metadata: dict[ImageID, dict[str, bytes]] = {}
        self._lock = Lock()

    def walk(self) -> list[ImageID]:
        with self._lock:
            return sorted(self._configs)

    def get(self, image_id: ImageID) -> bytes:
        config = self._find(image_id)
        return config.raw_config if isinstance(config, Image) else config.read()

    def add(self, image: Image) -> None:
        """Keep an image that was read already; its parent is not recorded."""
        with self._lock:
            self._configs[image.id] = image

    def parsed(self, image_id: ImageID) -> Image | None:
        """The image if it was added as one, as of `KeepsParsed`."""
        config = self._configs.get(image_id)
        return config if isinstance(config, Image) else None

    def set(self, data: bytes, metadata: Mapping[str, bytes] = _NOTHING) -> ImageID:
        check_content(data)
        for key in metadata:
            check_key(key)
        image_id = ImageID.of(data)
        with self._lock:
            if image_id not in self._configs:
                self._configs[image_id] = self._packer.keep(data)
            if metadata:
                self._metadata.setdefault(image_id, {}).update(metadata)
        return image_id

    def delete(self, image_id: ImageID) -> None:
        with self._lock:
            self._find(image_id)
            del self._configs[image_id]
            self._metadata.pop(image_id, None)

    def set_metadata(self, image_id: ImageID, key: str, data: bytes) -> None:
        check_key(key)
        with self._lock:
            self._find(image_id)
            self._metadata.setdefault(image_id, {})[key] = data

    def get_metadata(self, image_id: ImageID, key: str) -> bytes:
        check_key(key)
        self._find(image_id)
        try:
            return self._metadata[image_id][key]
        except KeyError:
            raise MetadataNotFound(f"failed to read metadata {key} of {image_id}: there is none") from None

    def with_metadata(self) -> Collection[ImageID]:
        with self._lock:
            return {image_id for image_id, values in self._metadata.items() if values}

    def delete_metadata(self, image_id: ImageID, key: str) -> None:
        check_key(key)
        with self._lock:
            self._metadata.get(image_id, {}).pop(key, None)

    def _find(self, image_id: ImageID) -> KeptDocument | Image:
        try:
            return self._configs[image_id]
        except KeyError:
            raise NotFound(f"failed to get digest {image_id}: there is none") from None
