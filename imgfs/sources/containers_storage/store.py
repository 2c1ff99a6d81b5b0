"""The store of podman, buildah and CRI-O, `containers-storage:[GRAPHROOT]`, read in place and without its locks.

What lies where is `graph_driver`'s. An image's layers are those its top layer stands on; its parent is the one that
its builder wrote into the config, or else the one that podman derives, see `parents`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

import msgspec

from imgfs.blob import Blob, Root
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
from imgfs.layers import (
    DirectoryPlace,
    Indexer,
    Layer,
    OwnerMap,
    SplitLayer,
    SplitPlace,
    Splits,
    prefix_of,
)
from imgfs.sources.container_layers import OwnLayer
from imgfs.sources.containers_storage.containers import (
    MERGED,
    found_container,
    read_containers,
)
from imgfs.sources.containers_storage.graph_driver import (
    FILES,
    MANIFEST,
    GraphDriver,
    ImageRecord,
    LayerRecord,
    find_drivers,
)
from imgfs.sources.containers_storage.libpod import read_records
from imgfs.sources.containers_storage.parents import Candidate, HistoryDigests, derive_parents
from imgfs.sources.containers_storage.storage_conf import default_storage
from imgfs.sources.documents import parse_document
from imgfs.sources.finder import (
    Check,
    DerivedParents,
    Finder,
    Found,
    FoundContainer,
    FoundImage,
    Report,
    ignore,
)
from imgfs.sources.kind import DirectoryKind
from imgfs.sources.manifests import Document
from imgfs.sources.reference import with_digest
from imgfs.sources.subordinate_ids import rootless_owners
from imgfs.store import DocumentPacker, Image, KeptDocument

_DEEPEST = 10_000
_SKOPEO = re.compile(r"\[(?:([a-z0-9-]+)@)?([^+:\]]+)(?:\+[^:\]]*)?(?::([^\]]*))?\]")
_IMAGE_STORE = re.compile(r"(?:[a-z0-9-]+\.)?(?:imagestore|additionalimagestore)=(.+)")


class _Config(msgspec.Struct):
    parent: str = ""


@dataclass(frozen=True, slots=True)
class _Places:
    """Where each layer lies now: one that was removed and came back lies elsewhere.

    With the chain ID goes the number of the copy, counted among all layers with the same diff ID.
    """

    splits: Splits = field(default_factory=Splits)
    refs: dict[tuple[ChainID, int], "_LayerRef"] = field(default_factory=dict)

    def locate(self, number: int, chain_id: ChainID) -> SplitPlace:
        ref = self.refs[chain_id, number]
        return ref.driver.place(ref.record)


@dataclass(frozen=True, slots=True)
class _LayerRef:
    """A layer as a store lists it."""

    driver: GraphDriver
    record: LayerRecord
    known: _Places = field(compare=False)
    number: int

    @property
    def key(self) -> tuple[str, str, str]:
        return self.driver.root.path, self.driver.name, self.record.id

    def resolve(self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, indexer: Indexer) -> Layer:
        if self.record.diff_digest not in ("", diff_id):
            raise Corrupt(
                f"layer {self.record.id[:64]}: is {self.record.diff_digest[:80]} where {diff_id} is wanted"
            )
        self.driver.check(self.record)
        self.known.refs[chain_id, self.number] = self
        locate = partial(self.known.locate, self.number)
        return SplitLayer(chain_id, diff_id, parent, locate, self.known.splits)


@dataclass(slots=True)
class _Documents:
    """What was read of an image, and how its record names the documents: `manifest` by its digest."""

    names: tuple[str, ...]
    manifest: str
    image: Image
    document: KeptDocument | None
    parent: ImageID | None
    # once it was asked for
    _history: tuple[HistoryDigests | None] | None = field(default=None, init=False, compare=False)

    def history(self) -> HistoryDigests | None:
        """As of `Candidate`."""
        if self._history is None:
            try:
                self._history = (HistoryDigests.of(self.image.history),)
            except InvalidImage:
                self._history = (None,)
        return self._history[0]

    def is_of(self, record: ImageRecord) -> bool:
        """Whether the same documents are named, each by its digest."""
        return (
            self.image.id == f"sha256:{record.id}"
            and tuple(record.big_data_names or ()) == self.names
            and bool(record.digest_of(MANIFEST)) >= (MANIFEST in self.names)
            and record.digest_of(MANIFEST) == self.manifest
        )


class GraphFinder(Finder):
    """All in the stores at `roots`, earlier ones first; of one storage driver if that is given."""

    def __init__(self, roots: Sequence[Root], driver: str | None) -> None:
        path = roots[0].path
        self.reference = f"containers-storage:{f'[{driver}@{path}]' if driver else path}"
        self.folders = tuple(root.path for root in roots)
        self.writers = frozenset(root.writer for root in roots if root.is_directory())
        self._roots = roots
        self._driver = driver
        self._places = _Places()
        self._read: dict[tuple[str, GraphDriver], _Documents] = {}  # by the last look
        self._packer = DocumentPacker()
        self._owners_in = cache(rootless_owners)  # so that it is logged once if there are none

    def find(self, report: Report) -> Iterator[Found]:
        """As of `Finder`. Raises StoreError, InvalidImage or OSError if the first store's lists cannot be read."""
        listed = self._lists(report)
        numbers: Counter[str] = Counter()
        layers: dict[GraphDriver, dict[str, _LayerRef]] = {}
        for driver, records, _ in listed:
            layers[driver] = {}
            for layer in records:
                number = numbers[layer.diff_digest]
                layers[driver][layer.id] = _LayerRef(driver, layer, self._places, number)
                numbers[layer.diff_digest] += 1
        known, self._read = self._read, {}
        families: dict[str, list[Candidate]] = {}
        for driver, _, images in listed:
            reachable: dict[str, _LayerRef] = {}
            # those of its own store before any others
            for store in (*reversed(layers.values()), layers[driver]):
                reachable |= store
            if driver.name not in FILES and images:
                report(f"layers of driver {driver.name} cannot be read")
            for record in images:
                try:
                    documents = known.get((record.id, driver))
                    if documents is None or not documents.is_of(record):
                        documents = _read_documents(driver, record, self._packer, report)
                    if documents is None:
                        continue
                    self._read[record.id, driver] = documents
                    yield _image(record, documents, reachable, report)
                    if not record.layer or record.layer in reachable:
                        below = reachable[record.layer].record.parent if record.layer else ""
                        candidate = Candidate(documents.image, documents.history, record.layer, below)
                        families.setdefault(driver.name, []).append(candidate)
                except (ImgfsError, OSError) as error:
                    report(
                        f"skipping image {record.id[:64]}: {describe(error)}",
                        image=f"sha256:{record.id[:64]}",
                        names=record.names or (),
                    )
            if driver.name in FILES:
                yield from _containers(driver, reachable, self._owners_in, report)
        for family in families.values():
            yield DerivedParents(derive_parents(family))

    def stamp(self) -> object:
        """As of `Finder`; changes when one of the lists is replaced."""
        seen = []
        for root in self._roots:
            root.follow()
            seen.append(root.stamp(self._lists_in(root)))
        return seen

    def watched(self) -> Iterator[str]:
        return (root.path_of(name) for root in self._roots for name in ("", *self._lists_in(root)))

    def _lists_in(self, root: Root) -> list[str]:
        return [name for driver in find_drivers(root, self._driver) for name in driver.lists]

    def checks(self) -> Iterator[Check]:
        """Each document of each image, and each image's directory, which has to be listed."""
        for root in self._roots:
            for driver in find_drivers(root, self._driver):
                listed = {record.id: record for record in driver.read_images(ignore)}
                for record in listed.values():
                    for name in record.big_data_names or ():
                        what = f"document {name} of image {record.id[:64]}"
                        yield Check(what, partial(driver.read_document, record, name))
                for name in sorted(root.names(driver.images)):
                    if name not in listed and root.is_directory(f"{driver.images}/{name}"):
                        yield Check(f"directory {driver.images}/{name}", partial(_unlisted, driver, name))

    def close(self) -> None:
        for root in self._roots:
            root.close()

    def _lists(self, report: Report) -> list[tuple[GraphDriver, list[LayerRecord], list[ImageRecord]]]:
        """The layers and the images that each driver lists; an additional store that cannot be read is reported."""
        listed = []
        for root in self._roots:
            try:
                others = tuple(other for other in self._roots if other is not root)
                listed += [
                    (driver, driver.read_layers(report), driver.read_images(report))
                    for driver in find_drivers(root, self._driver, others)
                ]
            except (ImgfsError, OSError) as error:
                if root == self._roots[0]:
                    raise
                report(f"skipping the additional store {root.path}: {error}")
        return listed


def _containers(
    driver: GraphDriver,
    layers: Mapping[str, _LayerRef],
    owners_in: Callable[[Root], tuple[OwnerMap, ...]],
    report: Report,
) -> Iterator[FoundContainer]:
    """The containers of a driver; one whose layers are missing is reported.

    `owners_in` returns the user namespaces that files in its store belong to.
    """
    listed = list(read_containers(driver.root, driver.name, report))
    podman = read_records(driver.root, report) if listed else {}
    owners = owners_in(driver.root) if listed else ()
    for record, raw in listed:
        try:
            top = layers.get(record.layer)
            if top is None:
                raise StoreError(f"its layer {record.layer[:64]} is missing")
            is_whole = driver.name in MERGED
            below = (
                [] if is_whole else _stack(top.record.parent, layers, report, f"container {record.id[:64]}")
            )
            if top.record.parent and not is_whole and not below:
                continue
            yield found_container(
                record,
                raw,
                [(ref.record.diff_digest, ref) for ref in below],
                _own_layer(driver, top.record, (*owners, *record.owners)),
                podman.get(record.id),
                _log(driver, record.id),
                is_whole=is_whole,
            )
        except (ImgfsError, OSError) as error:
            report(f"skipping container {record.id[:64]}: {describe(error)}")


def _log(driver: GraphDriver, container_id: str) -> Callable[[], Blob] | None:
    name = f"{driver.name}-containers/{container_id}/userdata/ctr.log"
    return partial(driver.root.open, name) if driver.root.exists(name) else None


def _own_layer(driver: GraphDriver, layer: LayerRecord, owners: tuple[OwnerMap, ...]) -> OwnLayer:
    name, root = driver.files(layer)
    return OwnLayer.at(DirectoryPlace(root, name, prefix_of(root), is_live=True, owners=owners))


def _read_documents(
    driver: GraphDriver, record: ImageRecord, packer: DocumentPacker, report: Report
) -> _Documents | None:
    """The config and the manifest of an image; None for what is none, such as a list of manifests."""
    names = record.big_data_names or ()
    configs = sorted((name for name in names if name.startswith("sha256:")), key=f"sha256:{record.id}".__ne__)
    if not configs:
        if MANIFEST in names and _is_list(driver.read_document(record, MANIFEST)):
            return None
        raise InvalidImage("its config is missing")
    config = driver.read_document(record, configs[0])
    image = Image.from_config(config, keep=packer.keep)
    manifest = _manifest(driver, record, report) if MANIFEST in names else None
    document = None if manifest is None else packer.keep(manifest)
    return _Documents(tuple(names), record.digest_of(MANIFEST), image, document, _parent(config))


def _image(
    record: ImageRecord, documents: _Documents, layers: Mapping[str, _LayerRef], report: Report
) -> FoundImage:
    image = documents.image
    return FoundImage(
        image,
        _stack(record.layer, layers, report, f"image {record.id[:64]}"),
        [name for name in record.names or () if "@" not in name],
        documents.parent,
        documents.document,
        _digest_names(record),
    )


def _digest_names(record: ImageRecord) -> list[str]:
    """Each digest of an image, alone and, as podman shows it, with the repository of each name."""
    names = [name.partition("@")[0] for name in record.names or ()]
    return [name for digest in record.digests for name in (f"@{digest}", *with_digest(names, digest))]


def _unlisted(driver: GraphDriver, name: str) -> None:
    raise Corrupt(f"{driver.images}/images.json lists no image {name[:64]}, which has a directory")


def _is_list(manifest: bytes) -> bool:
    return parse_document(manifest, Document, MANIFEST).is_index


def _manifest(driver: GraphDriver, record: ImageRecord, report: Report) -> bytes | None:
    try:
        return driver.read_document(record, MANIFEST)
    except Corrupt:
        raise
    except (ImgfsError, OSError) as error:
        report(f"image {record.id[:64]}: its manifest is missing: {error}")
        return None


def _stack(top: str, layers: Mapping[str, _LayerRef], report: Report, what: str) -> list[_LayerRef]:
    """The layers down from `top`, bottom first; none if one is missing, which is reported as one of `what`."""
    stack: list[_LayerRef] = []
    wanted = top
    while wanted:
        layer = layers.get(wanted)
        if layer is None or len(stack) > _DEEPEST:
            report(f"{what}: its layer {wanted[:64]} is missing")
            return []
        stack.append(layer)
        wanted = layer.record.parent
    return stack[::-1]


def _parent(raw: bytes) -> ImageID | None:
    """The parent that a builder recorded in a config, which has none in the OCI form."""
    try:
        parent = parse_json(raw, _Config, "config").parent
        return ImageID(parent) if parent else None
    except (InvalidImage, InvalidDigest):
        return None


def is_graph_root(root: Root) -> bool:
    """Whether a directory is a store of containers/storage."""
    return bool(find_drivers(root, None))


def _finder(rest: str) -> GraphFinder:
    """Finds what is in the store at `rest`, by default this user's own with its additional stores.

    Also as skopeo writes it, `[DRIVER@GRAPHROOT+RUNROOT:OPTIONS]`, where the options, between commas, may have the rest
    of a split store, `overlay.imagestore=PATH`. Raises SourceNotFound if there is no store, OSError if it cannot be
    read.
    """
    match = _SKOPEO.fullmatch(rest)
    driver, named, options = match.groups() if match else (None, rest, None)
    conf = default_storage()
    first = Root(named or conf.graph_root)
    stores = [found[1] for found in map(_IMAGE_STORE.fullmatch, (options or "").split(",")) if found]
    if not stores and first.path == conf.graph_root:
        stores = [*conf.additional]
    roots = [first, *map(Root, stores)]
    if not any(find_drivers(root, driver) for root in roots):
        raise SourceNotFound(
            f"{first.path}: no store of podman or buildah there"
            + (f" with driver {driver}" if driver else "")
        )
    return GraphFinder(roots, driver)


KIND = DirectoryKind(_finder, is_graph_root)
