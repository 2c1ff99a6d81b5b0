"""Where containers/storage, the store of podman, buildah and CRI-O, keeps what.

    <driver>-images/images.json           images, each with its top layer, its names, and the names of its documents
    <driver>-images/<id>/<document>       configs and manifests
    <driver>-layers/layers.json           layers, each with its parent, its diff ID and the size of its tar
    <driver>-layers/<id>.tar-split.gz     what a layer's tar is put together with
    overlay/<id>/diff/, vfs/dir/<id>/     a layer's files; how they are named with composefs, `composefs` knows

With `imagestore` in storage.conf, a store is split: podman 5.4 keeps the list of layers and the tar-splits in the
graph root, podman 5.8 only the tar-splits, and all else is in the image store.

Format: containers/storage, `images.go`, `layers.go`. The lists are replaced by rename.
Tried by the tests of the store.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec

from imgfs.blob import MAX_SIZE, Root
from imgfs.digest import Digest
from imgfs.errors import Corrupt, InvalidDigest, InvalidImage, StoreError
from imgfs.layers import SplitPlace
from imgfs.sources.containers_storage import composefs
from imgfs.sources.containers_storage.containers import list_names
from imgfs.sources.containers_storage.libpod import DATABASES
from imgfs.sources.documents import MAX_DOCUMENT, MAX_LIST, parse_items
from imgfs.sources.finder import Report
from imgfs.tar.split import Naming

FILES: Mapping[str, str] = {"overlay": "overlay/{}/diff", "vfs": "vfs/dir/{}"}
"""Where each storage driver that can be read keeps the files of a layer, by its ID."""

MANIFEST = "manifest"
"""The name of the document that is an image's manifest."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_PLAIN = re.compile(r"[0-9a-z.]+")

T = TypeVar("T")


class ImageRecord(msgspec.Struct, rename="kebab"):
    """An image in a list: `layer` is the ID of its top layer, empty if it has none.

    `digest` is that of its manifest, and `big_data_digests` are those of its documents by name, where recorded.
    """

    id: str
    layer: str = ""
    names: list[str] | None = None
    digest: str = ""
    big_data_names: list[str] | None = None
    big_data_digests: dict[str, str] | None = None

    @property
    def digests(self) -> list[str]:
        """The digests of the manifests that lead to it, without those that are recorded wrong."""
        named = [name.rpartition("@")[2] for name in self.names or () if "@" in name]
        manifests = [of for name, of in (self.big_data_digests or {}).items() if name.startswith(MANIFEST)]
        return list(dict.fromkeys(filter(_is_digest, (*named, self.digest, *manifests))))

    def digest_of(self, name: str) -> str:
        """The digest of a document as it is recorded; empty where it is not."""
        recorded = (self.big_data_digests or {}).get(name, "")
        return recorded or {MANIFEST: self.digest}.get(name, "")


class LayerRecord(msgspec.Struct, rename="kebab"):
    """A layer in a list: `parent` is the ID of the one below, `diff_size` its tar's size or no size if not known."""

    id: str
    parent: str = ""
    diff_digest: str = ""
    diff_size: int = 0


@dataclass(frozen=True, slots=True)
class GraphDriver:
    """What the storage driver called `name` has in the store at `root`.

    What is not there of a layer is looked for in the stores at `others`.
    """

    root: Root
    name: str
    others: Sequence[Root] = ()

    @property
    def images(self) -> str:
        return f"{self.name}-images"

    @property
    def layers(self) -> str:
        return f"{self.name}-layers"

    @property
    def lists(self) -> list[str]:
        """The names of the files that are replaced when something changes."""
        return [f"{self.images}/images.json", *self._layer_lists, *list_names(self.name), *DATABASES]

    def read_images(self, report: Report) -> list[ImageRecord]:
        """The images listed; an item that is none is reported.

        Raises InvalidImage, StoreError or OSError, as `read_layers` does.
        """
        return self._read_list(f"{self.images}/images.json", ImageRecord, report)

    def read_layers(self, report: Report) -> list[LayerRecord]:
        """The layers listed, as `read_images`."""
        return [record for name in self._layer_lists for record in self._read_list(name, LayerRecord, report)]

    def read_document(self, image: ImageRecord, name: str) -> bytes:
        """A document of an image.

        Raises Corrupt if its digest is not the recorded one, StoreError, InvalidImage or OSError if it cannot be read.
        """
        data = self.root.read(f"{self.images}/{_checked_id(image.id)}/{_stored_name(name)}", MAX_DOCUMENT)
        for text in filter(None, (image.digest_of(name), name if _is_digest(name) else "")):
            digest = Digest(text)
            if not digest.is_of(data):
                raise Corrupt(f"document {name}: failed to verify, its content is not {digest}")
        return data

    def check(self, layer: LayerRecord) -> None:
        """Raise StoreError or InvalidImage if where a layer's bytes lie cannot be told."""
        if self.name not in FILES:
            raise StoreError(f"layer {layer.id[:64]}: kept by driver {self.name}, which cannot be read")
        _checked_id(layer.id)

    def place(self, layer: LayerRecord) -> SplitPlace:
        """Where a layer's bytes lie. Raises as `check` does, or OSError."""
        self.check(layer)
        tar_split, files = f"{self.layers}/{layer.id}.tar-split.gz", FILES[self.name].format(layer.id)
        return SplitPlace(
            self._root_of(tar_split),
            tar_split,
            files,
            layer.diff_size if 0 < layer.diff_size <= MAX_SIZE else None,
            self._root_of(files),
            partial(self._file_names, layer.id),
        )

    def files(self, layer: LayerRecord) -> tuple[str, Root]:
        """The name of the directory of a layer's files, and the store that has it. Raises as `place` does."""
        self.check(layer)
        files = FILES[self.name].format(layer.id)
        return files, self._root_of(files)

    def _file_names(self, layer_id: str) -> Naming | None:
        """How the files of a layer are named, None if as in its tar."""
        blob = f"overlay/{layer_id}/{composefs.BLOB}"
        if self.name != "overlay" or not self._root_of(blob).exists(blob):
            return None
        manifest = f"{self.layers}/{layer_id}/{_stored_name(composefs.MANIFEST)}"
        data = self._root_of(manifest).read(manifest, MAX_LIST)
        return composefs.object_names(data, f"layer {layer_id[:64]}: {composefs.MANIFEST}")

    def _root_of(self, name: str) -> Root:
        """Where a file is; the store itself if it is nowhere."""
        roots = (self.root, *self.others) if self.others else ()
        return next((root for root in roots if root.exists(name)), self.root)

    @property
    def _layer_lists(self) -> list[str]:
        return [f"{self.layers}/{name}" for name in ("layers.json", "volatile-layers.json")]

    def _read_list(self, name: str, kind: type[T], report: Report) -> list[T]:
        """A list that may not be there yet, or be null."""
        try:
            data = self.root.read(name, MAX_LIST)
        except FileNotFoundError:
            return []
        items = parse_items(data, kind, self.root.path_of(name), report) if data.strip() else []
        return [item for _, item in items]


def find_drivers(root: Root, driver: str | None, others: Sequence[Root] = ()) -> list[GraphDriver]:
    """The storage drivers with images in a store, those of FILES first; only `driver` if that is given.

    What is not there of a layer is looked for in `others`.
    """
    try:
        names = root.names()
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [name.removesuffix("-images") for name in names if name.endswith("-images")]
    order = sorted(found, key=lambda name: (name not in FILES, name))
    drivers = (GraphDriver(root, name, others) for name in order if driver in (None, name))
    return [each for each in drivers if root.exists(each.layers)]


def _checked_id(name: str) -> str:
    """An ID that is also the name of a file. Raises InvalidImage if it could lead elsewhere."""
    if not _ID.fullmatch(name):
        raise InvalidImage(f"{name[:64]!r} is no ID")
    return name


def _stored_name(document: str) -> str:
    """The name of the file that a document is kept in."""
    return document if _PLAIN.fullmatch(document) else "=" + base64.b64encode(document.encode()).decode()


def _is_digest(name: str) -> bool:
    try:
        Digest(name)
    except InvalidDigest:
        return False
    return True
