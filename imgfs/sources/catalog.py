"""All that one look at a place yields: its images, their names, its containers, and the layers that they share.

Where a layer is stored more than once, each copy is kept, and one that can be read is read.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from typing import NoReturn

import msgspec

from imgfs.budget import MIB, Budget
from imgfs.digest import ChainID, DiffID, ImageID
from imgfs.errors import ImgfsError, LayerNotFound, StoreError, TooMuch
from imgfs.layers import Indexer, Layer, LayerChoice, chain_ids, verified_first
from imgfs.sources.finder import (
    Artifact,
    BlobRef,
    DerivedParents,
    Found,
    FoundContainer,
    FoundImage,
    LayerRef,
    TocRef,
)
from imgfs.store import Image, KeptDocument, Problems

_MEMORY = 256 * MIB  # that what is found in one place may take, about
# bytes that each takes, besides its documents and its text
_IMAGE, _CONTAINER, _LAYER, _NAME = 2048, 4096, 1024, 256


class _Placed(msgspec.Struct, frozen=True):
    """A layer in its place in a stack, and the reference that it was made of."""

    ref: LayerRef
    layer: Layer


class Catalog:
    """What is in the place called `place`, within a budget; empty before `read`.

    What `before`, an earlier catalog of the same place, has of layers is kept where it is found again. Problems are
    in `problems`, logged unless the earlier catalog had them.
    """

    def __init__(self, place: str, indexer: Indexer, before: "Catalog | None" = None) -> None:
        self.images: dict[ImageID, Image] = {}
        self.parents: dict[ImageID, ImageID] = {}
        self.derived_parents: dict[ImageID, ImageID] = {}
        self.tags: dict[str, ImageID] = {}
        self.aliases: dict[str, ImageID] = {}
        self.artifacts: list[Artifact] = []
        self.containers: dict[str, FoundContainer] = {}
        self.problems: Problems = before.problems.begin() if before else Problems(place)
        self._place = place
        self._indexer = indexer
        self._budget = Budget(place, _MEMORY)
        self._before = before
        self._manifests: dict[ImageID, KeptDocument] = {}
        self._stacks: dict[str, Sequence[LayerRef]] = {}  # by the ID of an image or a container
        self._incomplete: set[str] = set()  # those of which a layer is missing
        self._placed: dict[ChainID, _Placed] = {}
        self._copies: dict[DiffID, dict[Hashable, LayerRef]] = {}
        self._choices: dict[ChainID, Layer] = {}
        self._missing: dict[ChainID, Callable[[], Layer]] = {}  # what raises the reason

    def read(self, found: Iterable[Found]) -> None:
        """Take what was found; what is beyond the budget is left out with a problem."""
        before = self._before
        if before is not None:  # as long as nothing is found to be gone or changed
            self._placed = dict(before._placed)
            self._copies = {diff_id: dict(refs) for diff_id, refs in before._copies.items()}
        try:
            if before is not None:
                self._budget.spend(_LAYER * len(self._placed), "layers")
            for thing in found:
                if isinstance(thing, Artifact):
                    text = sum(map(len, (thing.type, *thing.tags)))
                    self._budget.spend(_NAME + text, "artifacts")
                    self.artifacts.append(thing)
                elif isinstance(thing, FoundContainer):
                    self._add_container(thing)
                elif isinstance(thing, DerivedParents):
                    self.derived_parents.update(thing.parents)
                else:
                    self._add(thing)
            if before is not None and not self._extends(before):
                self._budget.restore(_LAYER * len(self._placed))
                self._placed, self._copies, self._missing = {}, {}, {}
                for id_, refs in self._stacks.items():
                    self._add_layers(id_, self._diff_ids(id_), refs)
        except TooMuch as error:
            why = str(error).removeprefix(f"{self._place}: ")
            self.problems.report(f"leaving out what else is there: {why}")
        self._before = None

    def manifest(self, image_id: ImageID) -> KeptDocument | None:
        """An image's manifest, None where it has none."""
        return self._manifests.get(image_id)

    def stored_blobs(self, image_id: ImageID) -> Sequence[BlobRef] | None:
        """The stored blob of each layer of an image, bottom first; None if one is kept in another way."""
        refs = self._stacks.get(image_id, ())
        blobs = [ref.blob if isinstance(ref, TocRef) else ref for ref in refs]
        found = [blob for blob in blobs if isinstance(blob, BlobRef)]
        return found if image_id in self.images and len(found) == len(refs) else None

    def layer(self, chain_id: ChainID) -> Layer:
        """A layer, the same object each time.

        Raises LayerNotFound if no image has it, what `LayerRef.resolve` raises if it is not there.
        """
        placed = self._placed.get(chain_id)
        if placed is None:
            if chain_id in self._missing:
                return self._missing[chain_id]()
            raise LayerNotFound(f"{self._place}: no layer with chain ID {chain_id}")
        if len(self._copies[placed.layer.diff_id]) == 1:
            return placed.layer
        if chain_id not in self._choices:
            first = verified_first(placed.layer)
            self._choices[chain_id] = LayerChoice(first, partial(self._others, placed))
        return self._choices[chain_id]

    def is_as(self, other: "Catalog") -> bool:
        """Whether there is the same in another catalog of this place."""
        return (
            self.images.keys() == other.images.keys()
            and self.parents == other.parents
            and self.derived_parents == other.derived_parents
            and self.tags == other.tags
            and self.aliases == other.aliases
            and self.artifacts == other.artifacts
            and self.containers == other.containers
            and self._manifests == other._manifests
            and self._placed.keys() == other._placed.keys()
            and self._copies.keys() == other._copies.keys()
            and all(refs.keys() == other._copies[diff_id].keys() for diff_id, refs in self._copies.items())
        )

    def _extends(self, before: "Catalog") -> bool:
        """Whether every image and container of an earlier catalog is here with the same layers."""
        stacks = self._stacks
        return all(stacks.get(id_) == refs for id_, refs in before._stacks.items())

    def _add_container(self, found: FoundContainer) -> None:
        container = found.container
        if container.id in self.containers:
            return
        text = sum(map(len, (container.name, container.image_name, *container.command, *container.ports)))
        self._budget.spend(_CONTAINER + text, "containers")
        self.containers[container.id] = found
        if not self._has_layers(container.id, found.layers):
            self._add_layers(container.id, found.diff_ids, found.layers)
        self._stacks[container.id] = found.layers

    def _add(self, found: FoundImage) -> None:
        image = found.image
        if image.id not in self.images:
            manifest = found.manifest
            documents = image.document.size + (manifest.size if manifest else 0)
            self._budget.spend(_IMAGE + documents, "images")
            self.images[image.id] = image
            if manifest:
                self._manifests[image.id] = manifest
        if found.parent is not None:
            self.parents[image.id] = found.parent
        if not self._has_layers(image.id, found.layers):
            self._add_layers(image.id, image.diff_ids, found.layers)
        self._stacks.setdefault(image.id, found.layers)
        for names, known in ((found.tags, self.tags), (found.aliases, self.aliases)):
            for name in names:
                if name not in known:
                    self._budget.spend(_NAME + len(name), "names")
                    known[name] = image.id

    def _has_layers(self, id_: str, refs: Sequence[LayerRef]) -> bool:
        """Whether all layers of an image or a container were found before, each where it is now."""
        before = self._before
        if before is None or id_ in before._incomplete:
            return False
        return before._stacks.get(id_) == refs

    def _diff_ids(self, id_: str) -> Sequence[DiffID]:
        container = self.containers.get(id_)
        return self.images[ImageID(id_)].diff_ids if container is None else container.diff_ids

    def _add_layers(self, id_: str, diff_ids: Sequence[DiffID], refs: Sequence[LayerRef]) -> None:
        stack = list(chain_ids(diff_ids))
        if len(refs) != len(stack):
            self._incomplete.add(id_)
            why = f"it has {len(refs)} layers where its config has {len(stack)} diff IDs"
            if stack:
                self._missing[stack[-1]] = partial(_raise, why)
            else:
                self.problems.report(f"image {id_}: {why}")
            return
        parent = None
        for chain_id, diff_id, ref in zip(stack, diff_ids, refs, strict=True):
            if chain_id not in self._placed or ref.key not in self._copies[diff_id]:
                self._budget.spend(_LAYER, "layers")
                try:
                    layer = self._resolve(ref, chain_id, diff_id, parent)
                except (ImgfsError, OSError):  # raised again when it is wanted
                    self._incomplete.add(id_)
                    self._missing[chain_id] = partial(ref.resolve, chain_id, diff_id, parent, self._indexer)
                else:
                    placed = self._placed.get(chain_id)
                    if placed is None or (layer.has_tar and not placed.layer.has_tar):
                        self._placed[chain_id] = _Placed(ref, layer)
                    self._copies.setdefault(diff_id, {}).setdefault(ref.key, ref)
            parent = chain_id

    def _resolve(self, ref: LayerRef, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None) -> Layer:
        known = self._before._placed.get(chain_id) if self._before is not None else None
        if known is not None and known.ref.key == ref.key:
            return known.layer
        return ref.resolve(chain_id, diff_id, parent, self._indexer)

    def _others(self, placed: _Placed) -> Iterator[Layer]:
        """What else was found to have the diff ID of a layer, in its place."""
        first = placed.layer
        for key, ref in self._copies[first.diff_id].items():
            if key != placed.ref.key:
                yield ref.resolve(first.chain_id, first.diff_id, first.parent, self._indexer)


def _raise(why: str) -> NoReturn:
    raise StoreError(why)
