"""The store of podman, buildah and CRI-O, `containers-storage:[GRAPHROOT]`, read in place and without its locks.

What lies where is `graph_root`'s. An image's layers are those its top layer stands on; its parent is the one that
its builder wrote into the config.
"""

import re
from collections import ChainMap, Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import msgspec

from imgfs.blob import Root
from imgfs.digest import ChainID, DiffID, ImageID
from imgfs.errors import (
    Corrupt,
    ImgfsError,
    InvalidDigest,
    InvalidImage,
    SourceNotFound,
    StoreError,
    describe,
)
from imgfs.go_json import parse_json
from imgfs.layers import Indexer, Layer, SplitLayer, SplitPlace, Splits
from imgfs.sources.catalog import CatalogSource, FoundImage, Report
from imgfs.sources.containers_storage.graph_root import (
    FILES,
    MANIFEST,
    ImageRecord,
    LayerRecord,
    Part,
    find_parts,
)
from imgfs.sources.containers_storage.storage_conf import default_storage
from imgfs.sources.documents import parse_document
from imgfs.sources.manifests import Document
from imgfs.sources.source import Check, Source

_DEEPEST = 10_000
_SKOPEO = re.compile(r"\[(?:([a-z0-9-]+)@)?([^+\]]+)(?:\+[^\]]*)?\]")


class _Config(msgspec.Struct):
    parent: str = ""


def is_graph_root(path: str) -> bool:
    """Whether `path` is a store of containers/storage."""
    return bool(find_parts(Root(path), None))


def open_store(rest: str, indexer: Indexer) -> Source:
    """Open the store at `rest`, by default this user's own with its additional stores.

    Also as skopeo writes it, `[DRIVER@GRAPHROOT+RUNROOT]`. Raises SourceNotFound if there is no store, OSError if it
    cannot be read.
    """
    match = _SKOPEO.fullmatch(rest)
    driver, named = (match[1], match[2]) if match else (None, rest)
    conf = default_storage()
    first = Root(named or conf.graph_root)
    path = first.path
    roots = [first, *map(Root, conf.additional if path == conf.graph_root else ())]
    if not any(find_parts(root, driver) for root in roots):
        raise SourceNotFound(
            f"{path}: no store of podman or buildah there" + (f" with driver {driver}" if driver else "")
        )
    reference = f"containers-storage:{f'[{driver}@{path}]' if driver else path}"
    find = partial(find_images, roots, driver, _Layers())

    def close() -> None:
        for root in roots:
            root.close()

    checks = partial(_checks, roots, driver)
    writers = [root.writer for root in roots if root.is_directory()]
    stamp = partial(_stamp, roots, driver)
    return CatalogSource(reference, indexer, find, stamp, close, writers=writers, folder=path, checks=checks)


@dataclass(frozen=True, slots=True)
class _Layers:
    """Where each layer lies now: one that was removed and came back lies elsewhere.

    With the chain ID goes the number of the copy, counted among all layers with the same diff ID.
    """

    splits: Splits = field(default_factory=Splits)
    places: dict[tuple[ChainID, int], SplitPlace] = field(default_factory=dict)


def find_images(
    roots: Sequence[Root], driver: str | None, known: _Layers, report: Report
) -> Iterator[FoundImage]:
    """Every image in the stores at `roots`, earlier ones first; what is broken is reported and left out.

    Raises StoreError, InvalidImage or OSError if the first store's lists cannot be read.
    """
    parts = []
    for root in roots:
        try:
            parts += [
                (part, part.read_layers(report), part.read_images(report))
                for part in find_parts(root, driver)
            ]
        except (ImgfsError, OSError) as error:
            if root == roots[0]:
                raise
            report(f"skipping the additional store {root.path}: {error}")
    numbers: Counter[str] = Counter()
    layers: dict[Part, dict[str, _Stored]] = {}
    for part, records, _ in parts:
        layers[part] = {}
        for record in records:
            layers[part][record.id] = _Stored(part, record, known, numbers[record.diff_digest])
            numbers[record.diff_digest] += 1
    for part, _, images in parts:
        reachable = ChainMap(layers[part], *layers.values())  # those of its own store before any others
        if part.driver not in FILES and images:
            report(f"layers of driver {part.driver} cannot be read")
        for image in images:
            try:
                found = _image(part, image, reachable, report)
            except (ImgfsError, OSError) as error:
                report(
                    f"skipping image {image.id[:64]}: {describe(error)}",
                    image=f"sha256:{image.id[:64]}",
                    names=image.names or (),
                )
                continue
            if found is not None:
                yield found


@dataclass(frozen=True, slots=True)
class _Stored:
    """A layer as a store lists it."""

    part: Part
    record: LayerRecord
    known: _Layers
    number: int

    @property
    def key(self) -> tuple[str, str, str]:
        return self.part.root.path, self.part.driver, self.record.id

    def at(self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, indexer: Indexer) -> Layer:
        if self.record.diff_digest not in ("", diff_id):
            raise Corrupt(
                f"layer {self.record.id[:64]}: is {self.record.diff_digest[:80]} where {diff_id} is wanted"
            )
        place = chain_id, self.number
        self.known.places[place] = self.part.place(self.record)
        return SplitLayer(chain_id, diff_id, parent, lambda: self.known.places[place], self.known.splits)


def _checks(roots: Sequence[Root], driver: str | None) -> Iterator[Check]:
    """Each document of each image, and each image's directory, which has to be listed."""
    for root in roots:
        for part in find_parts(root, driver):
            listed = {record.id: record for record in part.read_images(lambda *_, **__: None)}
            for record in listed.values():
                for name in record.big_data_names or ():
                    yield Check(
                        f"document {name} of image {record.id[:64]}",
                        partial(part.read_document, record, name),
                    )
            for name in sorted(root.names(part.images)):
                if name not in listed and root.is_directory(f"{part.images}/{name}"):
                    yield Check(f"directory {part.images}/{name}", partial(_unlisted, part, name))


def _unlisted(part: Part, name: str) -> None:
    raise Corrupt(f"{part.images}/images.json lists no image {name[:64]}, which has a directory")


def _image(
    part: Part, record: ImageRecord, layers: Mapping[str, _Stored], report: Report
) -> FoundImage | None:
    """An image with all that belongs to it; None for what is none, such as a list of manifests."""
    documents = record.big_data_names or ()
    configs = sorted(
        (name for name in documents if name.startswith("sha256:")), key=f"sha256:{record.id}".__ne__
    )
    if not configs:
        if MANIFEST in documents and _is_list(part.read_document(record, MANIFEST)):
            return None
        raise InvalidImage("its config is missing")
    config = part.read_document(record, configs[0])
    return FoundImage(
        config=config,
        layers=_stack(record, layers, report),
        tags=[name for name in record.names or () if "@" not in name],
        parent=_parent(config),
        manifest=_manifest(part, record, report) if MANIFEST in documents else None,
    )


def _is_list(manifest: bytes) -> bool:
    return parse_document(manifest, Document, MANIFEST).is_index


def _manifest(part: Part, record: ImageRecord, report: Report) -> bytes | None:
    try:
        return part.read_document(record, MANIFEST)
    except Corrupt:
        raise
    except (ImgfsError, OSError) as error:
        report(f"image {record.id[:64]}: its manifest is missing: {error}")
        return None


def _stack(record: ImageRecord, layers: Mapping[str, _Stored], report: Report) -> list[_Stored]:
    """The layers of an image, bottom first; none if one is missing, which is reported."""
    stack: list[_Stored] = []
    wanted = record.layer
    while wanted:
        layer = layers.get(wanted)
        if layer is None or len(stack) > _DEEPEST:
            report(f"image {record.id[:64]}: its layer {wanted[:64]} is missing")
            return []
        stack.append(layer)
        wanted = layer.record.parent
    return stack[::-1]


def _parent(config: bytes) -> ImageID | None:
    """The parent that a builder recorded in the config; one in the OCI form has none."""
    try:
        parent = parse_json(config, _Config, "config").parent
        return ImageID(parent) if parent else None
    except (InvalidImage, InvalidDigest):
        return None


def _stamp(roots: Sequence[Root], driver: str | None) -> object:
    """Changes when one of the lists is replaced."""
    seen = []
    for root in roots:
        root.follow()
        for part in find_parts(root, driver):
            for name in part.lists:
                try:
                    status = root.stat(name)
                except (FileNotFoundError, StoreError):
                    continue
                seen.append((root.path_of(name), status.st_mtime_ns, status.st_ino, status.st_size))
    return seen
