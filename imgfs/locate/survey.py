"""Looking into stores: which images and containers they have, and indexing those of their layers that are not yet.

A layer whose bytes were compared with its diff ID is indexed under that, wherever it lies. Any other is indexed under
its source and its diff ID, as engines change nothing of a layer that they have unpacked.
Tried by the tests of `imgfs locate`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

from imgfs.codec import Compression
from imgfs.digest import ChainID, DiffID
from imgfs.errors import ImgfsError, describe
from imgfs.layers import BlobLayer, Layer, LayerChoice, chain_ids, index_layer, stored_size
from imgfs.layers.progress import Progress
from imgfs.locate.catalog import Catalog
from imgfs.locate.contents import file_digests_of
from imgfs.locate.machine import Machine, Root, Stamps, stamps_of
from imgfs.locate.segment_writer import PackedLayer, pack_layer
from imgfs.sources import Source
from imgfs.sources.default_places import watched_places
from imgfs.sources.union import Snapshot, Union
from imgfs.tree import Tree

_BATCH = 16 << 20  # bytes of packed layers that are kept in memory until they are written

Report = Callable[[str], object]
"""Takes a problem in one line."""


@dataclass(frozen=True, slots=True)
class StackedLayer:
    """A layer in its place in a stack, in the source that it is read from; equal wherever that source has it."""

    source: Source
    chain_id: ChainID = field(compare=False)
    diff_id: DiffID

    @property
    def by_content(self) -> bytes:
        """The key that it has if its bytes were compared with its diff ID."""
        if self.diff_id.algorithm == "sha256":
            return bytes.fromhex(self.diff_id.hex)
        return sha256(self.diff_id.encode()).digest()

    @property
    def by_place(self) -> bytes:
        """The key that it has otherwise."""
        reference = self.source.reference.encode("utf-8", "surrogateescape")
        return sha256(b"%b\0%b" % (reference, self.diff_id.encode())).digest()


@dataclass(frozen=True, slots=True)
class _Stacked:
    """An image or a container, with its layers, bottom first."""

    id: str
    names: Sequence[str]
    is_container: bool
    layers: Sequence[StackedLayer]


class Survey:
    """Looks into the sources of `union`; what it indexes is kept in `catalog`.

    Layers that cannot be read are reported, and what has them is left out. Methods raise what reading sources raises.
    Indexing ends before the next layer once it `is_stopped`.
    """

    def __init__(
        self,
        union: Union,
        catalog: Catalog,
        progress: Progress,
        report: Report,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._union = union
        self._catalog = catalog
        self._progress = progress
        self._report = report
        self._is_stopped = is_stopped
        self._failed: set[StackedLayer] = set()
        self._packed: list[PackedLayer] = []
        self._read_now: set[bytes] = set()
        self._needed: set[bytes] | None = None

    def machine(
        self,
        references: Sequence[str],
        absent: Sequence[str],
        *,
        is_everything: bool,
        with_digests: bool = False,
    ) -> tuple[Machine, bool]:
        """What there is, every layer of which is indexed, with digests of contents if that is asked.

        `references` are those of the sources that were asked for, `absent` of those that could not be opened; with
        `is_everything`, all of the machine's were asked for. Returns also whether what was found holds until a stamp
        differs.
        """
        watched = self._watched(references, absent)
        self._union.refresh()  # what is found is of a later moment than the stamps
        found = list(_stacked(self._union.snapshot))
        layers = [layer for root in found for layer in root.layers]
        if is_everything:
            self._needed = {key for layer in layers for key in (layer.by_content, layer.by_place)}
        self.index(layers, with_digests=with_digests)
        machine = self._described([root for root in found if self._failed.isdisjoint(root.layers)])
        machine.watched = watched or {}
        machine.has_problems = bool(self._failed or self._union.problems)
        return machine, watched is not None and not self._failed

    def layers(self) -> list[StackedLayer]:
        """Every layer of every image and container."""
        return list(dict.fromkeys(layer for root in _stacked(self._union.snapshot) for layer in root.layers))

    def index(self, layers: Iterable[StackedLayer], *, with_digests: bool = False) -> None:
        """Index those of some layers that are not yet."""
        missing = list(self._missing(dict.fromkeys(layers), with_digests=with_digests))
        labels = (
            f"layer {number} of {len(missing)}  {layer.diff_id.short}"
            for number, layer in enumerate(missing, 1)
        )
        self._index(zip(missing, labels, strict=True), with_digests=with_digests)

    def index_each(self, layers: Iterable[StackedLayer]) -> None:
        """Index those of some layers that are not yet, as they come."""
        self._index((layer, layer.diff_id.short) for layer in self._missing(layers))

    def _missing(
        self, layers: Iterable[StackedLayer], *, with_digests: bool = False
    ) -> Iterator[StackedLayer]:
        known = self._catalog.layers()
        for layer in layers:
            of = known.get(layer.by_content) or known.get(layer.by_place)
            if of is None or (with_digests and not of.place.has_digests):
                yield layer

    def _index(self, layers: Iterable[tuple[StackedLayer, str]], *, with_digests: bool = False) -> None:
        try:
            for layer, label in layers:
                if self._is_stopped():
                    return
                if layer.by_content in self._read_now or layer.by_place in self._read_now:
                    continue  # as that of another source, or in another place
                try:
                    self._read(layer, label, with_digests=with_digests)
                except (ImgfsError, OSError) as error:
                    text = describe(error)
                    self._report(text if layer.diff_id in text else f"layer {layer.diff_id}: {text}")
                    self._failed.add(layer)
                if sum(packed.size for packed in self._packed) >= _BATCH:
                    self._flush()
        finally:
            self._flush()

    def _read(self, of: StackedLayer, label: str, *, with_digests: bool) -> None:
        layer = of.source.layers.get(of.chain_id)
        try:
            if _is_compressed(layer):
                with self._progress(label, stored_size(layer)) as advance:
                    index_layer(layer, advance)
            tree = layer.tree()
            digests = None
            if with_digests:
                with self._progress(label, sum(tree.sizes)) as advance:
                    digests = file_digests_of(layer, tree, advance, partial(self._skipped, of, tree))
            key = of.by_content if layer.is_verified else of.by_place
            self._packed.append(pack_layer(key, tree, digests))
            self._read_now.add(key)
        finally:
            of.source.layers.release(layer)

    def _skipped(self, of: StackedLayer, tree: Tree, entry: int) -> None:
        path = os.fsdecode(tree.path(entry))
        self._report(
            f"layer {of.diff_id}: /{path}: its content is not compared, "
            f"as too many of its {tree.sizes[entry]} bytes are holes"
        )

    def _flush(self) -> None:
        if self._packed:
            packed, self._packed = self._packed, []
            self._catalog.add(packed, self._needed)

    def _watched(self, references: Sequence[str], absent: Sequence[str]) -> Stamps | None:
        """The stamps of all that decides what is found, None if some of that shows in no file."""
        paths = list(watched_places(references, absent))
        for source in self._union.sources:
            watched = source.watched()
            if watched is None:
                return None
            paths += watched
        return stamps_of(paths)

    def _described(self, found: Sequence[_Stacked]) -> Machine:
        known = self._catalog.layers()
        machine = Machine([], [], [], [], sorted(self._union.writers), {}, dict(self._catalog.stamps))
        layers: dict[bytes, int] = {}
        numbers: dict[StackedLayer, int] = {}
        stacks: dict[tuple[int, ...], int] = {}
        for root in found:
            for layer in root.layers:
                if layer not in numbers:
                    key = layer.by_content if layer.by_content in known else layer.by_place
                    number = numbers[layer] = layers.setdefault(key, len(layers))
                    if number == len(machine.layers):
                        machine.layers.append(key)
                        machine.diff_ids.append(str(layer.diff_id))
            stack = tuple(map(numbers.__getitem__, root.layers))
            number = stacks.setdefault(stack, len(stacks))
            machine.roots.append(Root(str(root.id), list(root.names), number, root.is_container))
        machine.stacks = list(stacks)
        return machine


def _is_compressed(layer: Layer) -> bool:
    if isinstance(layer, LayerChoice):
        layer = layer.first
    return isinstance(layer, BlobLayer) and layer.key().compression is not Compression.PLAIN


def _stacked(snapshot: Snapshot) -> Iterator[_Stacked]:
    """Every image and container with its layers; of a container, those of its image."""
    for image_id in snapshot.wanted:
        source, diff_ids = snapshot.source_of(image_id), snapshot.images[image_id].diff_ids
        yield _Stacked(image_id, snapshot.tags_of(image_id), False, list(_stack(source, diff_ids)))
    for at in snapshot.containers.values():
        container, source, diff_ids = at.found.container, at.source, tuple(at.found.diff_ids)
        image = snapshot.images.get(container.image) if container.image else None
        if image is not None:  # else of what is left of it
            source, diff_ids = snapshot.source_of(image.id), image.diff_ids
        names = [container.name] if container.name else []
        yield _Stacked(container.id, names, True, list(_stack(source, diff_ids)))


def _stack(source: Source, diff_ids: Sequence[DiffID]) -> Iterator[StackedLayer]:
    for chain_id, diff_id in zip(chain_ids(diff_ids), diff_ids, strict=True):
        yield StackedLayer(source, chain_id, diff_id)
