"""The answer to a query: what was found in which layer, and the images and the containers in which that is seen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from imgfs.locate.catalog import Catalog
from imgfs.locate.layer_columns import LayerColumns
from imgfs.locate.machine import Machine, Root
from imgfs.locate.place import LINKED
from imgfs.locate.search import Query
from imgfs.locate.visibility import Visibility

_SORTED = 50_000  # candidates that are sorted at a time
_Candidate = tuple[bytes, int, int]  # a path, the number of the layer, and the entry there


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry of a layer, at `path`, without a slash before it; what is known of it is that of `entry` in `columns`.

    `seen_in` are the images and containers in which it is seen, `hidden_in` those in which a later layer hides it.
    """

    path: bytes
    diff_id: str
    columns: LayerColumns
    entry: int
    seen_in: Sequence[Root]
    hidden_in: Sequence[Root]


def answer(
    query: Query, machine: Machine, catalog: Catalog, *, deleted: bool = False, by_layer: bool = False
) -> Iterator[Hit]:
    """What is asked for, sorted by path but for very many; with `deleted`, also what is seen nowhere.

    If it is wanted `by_layer`, what is found in a layer comes before others are searched, and is sorted by itself.
    Raises KeyError if a layer is not in the catalog, InvalidImage for links that lead through absurdly much.
    """
    known = catalog.layers()
    layers = [known[key] for key in machine.layers]
    numbers = {id(layer): number for number, layer in enumerate(layers)}
    visibility = Visibility(layers, machine.stacks)
    roots: list[list[Root]] = [[] for _ in machine.stacks]
    for root in machine.roots:
        roots[root.stack].append(root)

    def having(stacks: Sequence[int]) -> list[Root]:
        return [root for stack in stacks for root in roots[stack]]

    searched: list[Iterator[_Candidate]] = [
        _candidates(query, layer, numbers[id(layer)])
        for segment in catalog.segments
        for layer in segment.layers
        if id(layer) in numbers
    ]
    groups = searched if by_layer else [chain.from_iterable(searched)]
    for batch in chain.from_iterable(map(_batches, groups)):
        for path, number, entry in batch:
            layer, sight = layers[number], visibility.of(number, entry)
            hidden = having(sight.hidden) if deleted else []
            if not layer.kind(entry).flags & LINKED:
                if sight.seen or hidden:
                    yield Hit(path, machine.diff_ids[number], layer, entry, having(sight.seen), hidden)
                continue
            # by what the hard link leads to in each stack
            targets: dict[tuple[int, int], list[int]] = {}
            for stack in sight.seen:
                target = visibility.target(stack, number, entry)
                if target is not None and query.has(layers[target[0]], target[1]):
                    targets.setdefault(target, []).append(stack)
            for (of, at), stacks in targets.items():
                yield Hit(path, machine.diff_ids[number], layers[of], at, having(stacks), ())


def _candidates(query: Query, layer: LayerColumns, number: int) -> Iterator[_Candidate]:
    return ((layer.path(entry), number, entry) for entry in query.candidates(layer))


def _batches(wanted: Iterator[_Candidate]) -> Iterator[list[_Candidate]]:
    while batch := list(islice(wanted, _SORTED)):
        batch.sort(key=lambda each: (each[0].replace(b"/", b"\0"), each[1]))
        yield batch
