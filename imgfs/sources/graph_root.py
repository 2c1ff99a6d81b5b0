"""Where containers/storage, the store of podman, buildah and CRI-O, keeps what.

    <driver>-images/images.json           images, each with its top layer, its names, and the names of its documents
    <driver>-images/<id>/<document>       configs and manifests
    <driver>-layers/layers.json           layers, each with its parent, its diff ID and the size of its tar
    <driver>-layers/<id>.tar-split.gz     what a layer's tar is put together with
    overlay/<id>/diff/, vfs/dir/<id>/     a layer's files

Format: containers/storage, `images.go`, `layers.go`. The lists are replaced by rename.
"""

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from imgfs.blob import MAX_SIZE
from imgfs.errors import InvalidImage, StoreError
from imgfs.layers import SplitPlace
from imgfs.sources.documents import MAX_DOCUMENT, MAX_LIST, parse_document
from imgfs.store.files import read_file

FILES: Mapping[str, str] = {"overlay": "overlay/{}/diff", "vfs": "vfs/dir/{}"}
"""Where each storage driver that can be read keeps the files of a layer, by its ID."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_PLAIN = re.compile(r"[0-9a-z.]+")

T = TypeVar("T")


class ImageRecord(msgspec.Struct, rename="kebab"):
    """An image in a list: `layer` is the ID of its top layer, empty if it has none."""

    id: str
    layer: str = ""
    names: list[str] | None = None
    big_data_names: list[str] | None = None


class LayerRecord(msgspec.Struct, rename="kebab"):
    """A layer in a list: `parent` is the ID of the one below, `diff_size` its tar's size or no size if not known."""

    id: str
    parent: str = ""
    diff_digest: str = ""
    diff_size: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What the storage driver `driver` has in the store at `root`."""

    root: str
    driver: str

    @property
    def images(self) -> str:
        return os.path.join(self.root, f"{self.driver}-images")

    @property
    def layers(self) -> str:
        return os.path.join(self.root, f"{self.driver}-layers")

    @property
    def lists(self) -> list[str]:
        """The files that are replaced when something changes."""
        layers = (os.path.join(self.layers, name) for name in ("layers.json", "volatile-layers.json"))
        return [os.path.join(self.images, "images.json"), *layers]

    def read_images(self) -> list[ImageRecord]:
        """The images listed. Raises InvalidImage, StoreError or OSError, as `read_layers` does."""
        return _read_list(self.lists[0], list[ImageRecord])

    def read_layers(self) -> list[LayerRecord]:
        """The layers listed."""
        return [record for path in self.lists[1:] for record in _read_list(path, list[LayerRecord])]

    def read_document(self, image_id: str, name: str) -> bytes:
        """A document of an image. Raises StoreError or OSError."""
        file = name if _PLAIN.fullmatch(name) else "=" + base64.b64encode(name.encode()).decode()
        return read_file(os.path.join(self.images, _checked_id(image_id), file), MAX_DOCUMENT)

    def place(self, layer: LayerRecord) -> SplitPlace:
        """Where a layer's bytes lie. Raises StoreError or InvalidImage if that cannot be told."""
        files = FILES.get(self.driver)
        if files is None:
            raise StoreError(f"layer {layer.id[:64]}: kept by driver {self.driver}, which cannot be read")
        return SplitPlace(
            os.path.join(self.layers, f"{_checked_id(layer.id)}.tar-split.gz"),
            os.path.join(self.root, files.format(layer.id)),
            layer.diff_size if 0 < layer.diff_size <= MAX_SIZE else None,
        )


def find_parts(root: str, driver: str | None) -> list[Part]:
    """The storage drivers with images in a store, those of FILES first; only `driver` if that is given."""
    try:
        names = os.listdir(root)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [name.removesuffix("-images") for name in names if name.endswith("-images")]
    order = sorted(found, key=lambda name: (name not in FILES, name))
    parts = (Part(root, name) for name in order if driver in (None, name))
    return [part for part in parts if os.path.isdir(part.layers)]


def _read_list(path: str, kind: type[list[T]]) -> list[T]:
    """A list that may not be there yet, or be null."""
    try:
        data = read_file(path, MAX_LIST)
    except FileNotFoundError:
        return []
    return [] if data.strip() in (b"", b"null") else parse_document(data, kind, path)


def _checked_id(name: str) -> str:
    """An ID that is also the name of a file. Raises InvalidImage if it could lead elsewhere."""
    if not _ID.fullmatch(name):
        raise InvalidImage(f"{name[:64]!r} is no ID")
    return name
