"""A source made from a list of images found in one place: what layouts and archives have in common.

A format says how to find images (`find`); this derives the store, the layers and the names, and keeps them
in step when the place changes.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from isal import isal_zlib

from imgfs.blob import Blob
from imgfs.budget import MIB, Budget
from imgfs.digest import ChainID, DiffID, Digest, ImageID
from imgfs.errors import ImgfsError, LayerNotFound, TooMuch
from imgfs.layers import BlobLayer, Indexer, Layer, LayerChoice, LayerRegistry, chain_ids, verified_first
from imgfs.sources.report import Report as Report  # for the formats, which take what is found from here too
from imgfs.sources.source import Artifact, Check, Source
from imgfs.store import Image, ImageStore, MemoryBackend, Problem, Problems


class Placeable(Protocol):
    """What was found of a layer, which becomes one in its place in a stack."""

    @property
    def key(self) -> Hashable:
        """Says what is stored where: found again with the same key, it is the same."""

    def at(self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, indexer: Indexer) -> Layer:
        """The layer with this chain ID, on top of `parent`."""


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """A layer's stored bytes: how to open them, and their digest where it is recorded.

    `key` is as `Placeable` has it.
    """

    open_blob: Callable[[], Blob]
    digest: Digest | None
    key: Hashable

    def at(self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, indexer: Indexer) -> Layer:
        return BlobLayer(chain_id, diff_id, parent, self.open_blob, indexer, self.digest)


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image as a format describes it; `layers` lie bottom first, one for each diff ID of the config."""

    config: bytes
    layers: Sequence[Placeable]
    tags: Sequence[str] = ()
    parent: ImageID | None = None
    manifest: bytes | None = None


Found = FoundImage | Artifact
"""What a format finds; what is no image is only listed."""

_MEMORY = 256 * MIB  # that what is found in one place may take, about
_IMAGE, _LAYER, _NAME = 2048, 1024, 256  # bytes that each takes, besides its documents and its text


@dataclass(slots=True)
class _Stacked:
    """A layer in its place in a stack, and what it is made of there."""

    diff_id: DiffID
    parent: ChainID | None
    found: Placeable


@dataclass(slots=True)
class _Contents:
    """All that one look at the place yields; `budget` is what there is room for."""

    budget: Budget
    configs: dict[ImageID, bytes] = field(default_factory=dict)  # compressed, as are manifests
    parents: dict[ImageID, ImageID] = field(default_factory=dict)
    layers: dict[ChainID, Layer] = field(default_factory=dict)
    stacks: dict[ChainID, _Stacked] = field(default_factory=dict)
    copies: dict[DiffID, dict[Hashable, Placeable]] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)
    tags: dict[str, ImageID] = field(default_factory=dict)
    manifests: dict[ImageID, bytes] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)


class CatalogSource(Source):
    """A read-only source over what `find` finds; what is broken and left out it reports, a line each.

    `stamp` answers something that changes whenever `find` may answer differently, such as a file's
    modification time. `close` lets go of what `find` reads from. `writers` and `checks` are as
    `Source` has them.
    """

    def __init__(
        self,
        reference: str,
        indexer: Indexer,
        find: Callable[[Report], Iterable[Found]],
        stamp: Callable[[], object],
        close: Callable[[], None] = lambda: None,
        *,
        writers: Iterable[int],
        folder: str | None = None,
        checks: Callable[[], Iterable[Check]] = lambda: (),
    ) -> None:
        self.reference = reference
        self.folder = folder
        self.writers = frozenset(writers)
        self._indexer = indexer
        self._find = find
        self._stamp = stamp
        self._close = close
        self._checks = checks
        self._seen = stamp()
        nothing = self._contents = _Contents(Budget(reference, 0), problems=Problems(reference))
        self._contents = self._look()
        self._backend = MemoryBackend()
        self._store_changes(nothing, self._contents)
        self.layers = self._registry = LayerRegistry(self._find_layer)
        self.store = ImageStore(self._backend, self.layers)

    @property
    def tags(self) -> Mapping[str, ImageID]:
        return self._contents.tags

    @property
    def problems(self) -> Sequence[Problem]:
        return list(self._contents.problems)

    def checks(self) -> Iterable[Check]:
        return self._checks()

    @property
    def artifacts(self) -> Sequence[Artifact]:
        return self._contents.artifacts

    def manifest(self, image_id: ImageID) -> bytes | None:
        packed = self._contents.manifests.get(image_id)
        return None if packed is None else isal_zlib.decompress(packed)

    def refresh(self) -> bool:
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        before, after = self._contents, self._look()
        self._contents = after
        self._store_changes(before, after)
        self._registry.renew()
        self._seen = stamp
        self.store.refresh()
        return True

    def close(self) -> None:
        self._close()

    def _look(self) -> _Contents:
        contents = _Contents(Budget(self.reference, _MEMORY), problems=self._contents.problems.begin())
        report = contents.problems.report
        try:
            for found in self._find(report):
                if isinstance(found, Artifact):
                    text = sum(map(len, (found.type, *found.tags)))
                    contents.budget.spend(_NAME + text, "artifacts")
                    contents.artifacts.append(found)
                    continue
                try:
                    self._add(contents, found, report)
                except TooMuch:
                    raise
                except ImgfsError as error:
                    called = f" {', '.join(found.tags)}" if found.tags else ""
                    report(
                        f"skipping an image{called}: {error}",
                        image=ImageID.of(found.config),
                        names=found.tags,
                    )
        except TooMuch as error:
            why = str(error).removeprefix(f"{self.reference}: ")
            report(f"leaving out what else is there: {why}")
        for chain_id, stacked in contents.stacks.items():
            if len(contents.copies[stacked.diff_id]) > 1:
                first = verified_first(contents.layers[chain_id])
                contents.layers[chain_id] = LayerChoice(first, partial(self._others, contents, chain_id))
        return contents

    def _add(self, contents: _Contents, found: FoundImage, report: Report) -> None:
        image = Image.from_config(found.config)
        if image.id not in contents.configs:
            manifest = isal_zlib.compress(found.manifest or b"", 1)
            contents.budget.spend(_IMAGE + 3 * len(image.packed_config) + len(manifest), "images")
            contents.configs[image.id] = image.packed_config
            if found.manifest is not None:
                contents.manifests[image.id] = manifest
        if found.parent is not None:
            contents.parents[image.id] = found.parent
        self._add_layers(contents, image, found, report)
        for tag in found.tags:
            if tag not in contents.tags:
                contents.budget.spend(_NAME + len(tag), "names")
                contents.tags[tag] = image.id

    def _add_layers(self, contents: _Contents, image: Image, found: FoundImage, report: Report) -> None:
        if len(found.layers) != len(image.diff_ids):
            report(
                f"image {image.id} has {len(found.layers)} layers where its config has "
                f"{len(image.diff_ids)} diff IDs: its layers are not readable"
            )
            return
        parent = None
        for chain_id, diff_id, layer in zip(
            chain_ids(image.diff_ids), image.diff_ids, found.layers, strict=True
        ):
            known = contents.stacks.get(chain_id)
            if known is None or known.found.key != layer.key:
                contents.budget.spend(_LAYER, "layers")
                try:
                    placed = layer.at(chain_id, diff_id, parent, self._indexer)
                except ImgfsError as error:
                    report(f"image {image.id}: its layers are not readable: {error}")
                    return
                contents.copies.setdefault(diff_id, {}).setdefault(layer.key, layer)
            if known is None:
                contents.layers[chain_id] = placed
                contents.stacks[chain_id] = _Stacked(diff_id, parent, layer)
            parent = chain_id

    def _others(self, contents: _Contents, chain_id: ChainID) -> Iterator[Layer]:
        """What else was found to have the diff ID of a layer, in its place."""
        stacked = contents.stacks[chain_id]
        for key, found in contents.copies[stacked.diff_id].items():
            if key != stacked.found.key:
                yield found.at(chain_id, stacked.diff_id, stacked.parent, self._indexer)

    def _store_changes(self, before: _Contents, after: _Contents) -> None:
        for image_id in before.configs.keys() - after.configs.keys():
            self._backend.delete(image_id)
        for image_id, packed in after.configs.items():
            if image_id not in before.configs:
                self._backend.set(isal_zlib.decompress(packed))
            parent = after.parents.get(image_id)
            if parent is None:
                self._backend.delete_metadata(image_id, "parent")
            elif parent != before.parents.get(image_id):
                self._backend.set_metadata(image_id, "parent", parent.encode())

    def _find_layer(self, chain_id: ChainID) -> Layer:
        try:
            return self._contents.layers[chain_id]
        except KeyError:
            raise LayerNotFound(f"{self.reference}: no layer with chain ID {chain_id}") from None
