"""Where an image store keeps its configs, and small values about each of them.

A backend knows bytes by their digest and nothing of what they say.
"""

import re
from collections.abc import Collection, Mapping
from typing import Protocol, runtime_checkable

from imgfs.digest import ImageID
from imgfs.errors import StoreError
from imgfs.store.image import MAX_CONFIG_SIZE, Image

# no separators, not hidden, no "..": a key is also the name of a file
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class StoreBackend(Protocol):
    """Configs by image ID, each with values by key. Safe to call from several threads.

    Reading what is not there raises NotFound, "failed to get digest". Content that is not what its digest
    says is never returned: Corrupt, "failed to verify". Every method may also raise StoreError, if the
    backend's own storage fails.
    """

    def walk(self) -> list[ImageID]:
        """The ID of every config that is there, sorted; nothing is read or verified."""

    def get(self, image_id: ImageID) -> bytes:
        """A config. Raises NotFound or Corrupt."""

    def set(self, data: bytes, metadata: Mapping[str, bytes] = ...) -> ImageID:
        """Keep a config and values about it, in one step: both are visible or neither, even after a crash.

        Values that a config already there has under other keys stay. Raises StoreError if `data` is empty or
        larger than MAX_CONFIG_SIZE.
        """

    def delete(self, image_id: ImageID) -> None:
        """Remove a config and all values about it. Raises NotFound."""

    def set_metadata(self, image_id: ImageID, key: str, data: bytes) -> None:
        """Replace the value of a key. Raises NotFound or Corrupt, as `get` does."""

    def get_metadata(self, image_id: ImageID, key: str) -> bytes:
        """The value of a key. Raises MetadataNotFound if there is none, or as `get` does."""

    def delete_metadata(self, image_id: ImageID, key: str) -> None:
        """Remove the value of a key, if there is one."""


@runtime_checkable
class ListsMetadata(Protocol):
    """A backend that knows without reading configs which of them have values, so that the others are not asked."""

    def with_metadata(self) -> Collection[ImageID]:
        """The IDs that have values under any key, whether or not the config is there or sound."""


@runtime_checkable
class KeepsParsed(Protocol):
    """A backend that has the images of some of its configs, so that those are not parsed again."""

    def parsed(self, image_id: ImageID) -> Image | None:
        """The image of a config, without its parent; None where the config has to be read. Never raises."""


def check_content(data: bytes) -> None:
    """Refuse what is no config by its size. Raises StoreError."""
    if not data:
        raise StoreError("invalid empty data")
    if len(data) > MAX_CONFIG_SIZE:
        raise StoreError(f"{len(data)} bytes are too many for a config")


def check_key(key: str) -> None:
    """Refuse keys that are no plain names. Raises StoreError."""
    if not _KEY.fullmatch(key):
        raise StoreError(f"{key!r} is no name for metadata")
