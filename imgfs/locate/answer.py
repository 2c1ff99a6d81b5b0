"""The answer to a query: what was found in which layer, and the images and the containers in which that is seen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from imgfs.locate.catalog import Catalog
from imgfs.locate.machine import Machine, Root
from imgfs.locate.search import Query
from imgfs.locate.segment import LINKED, LayerColumns
from imgfs.locate.visibility import Visibility

_SORTED = 50_000  # candidates that are sorted at a time


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


def answer(query: Query, machine: Machine, catalog: Catalog, *, deleted: bool = False) -> Iterator[Hit]:
    """What is asked for, sorted by path but for very many; with `deleted`, also what is seen nowhere.

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

    found = chain.from_iterable(query.candidates(segment) for segment in catalog.segments)
    wanted = (
        (layer.path(entry), numbers[id(layer)], entry) for layer, entry in found if id(layer) in numbers
    )
    while batch := list(islice(wanted, _SORTED)):
        batch.sort(key=lambda each: (each[0].replace(b"/", b"\0"), each[1]))
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
