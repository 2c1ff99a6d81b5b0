"""Layers taken and released, counted."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from imgfs.blob import Blob
from imgfs.digest import ChainID, DiffID
from imgfs.errors import ImgfsError, LayerNotFound, StoreError
from imgfs.layers import Layer, LayerMetadata, LayerRegistry, chain_ids
from imgfs.tar import TarBlob
from imgfs.tree import Tree

DIFFS = [DiffID.of(b"%d" % number) for number in range(4)]
CHAIN = list(chain_ids(DIFFS))


@dataclass(frozen=True)
class Nothing:
    """A layer of which only the place matters."""

    has_tar = may_have_tar = True
    is_verified = False

    chain_id: ChainID
    diff_id: DiffID
    parent: ChainID | None
    known_size: int | None = 7

    def open(self) -> TarBlob:
        raise StoreError("nothing there")

    def look_for_size(self) -> int | None:
        return self.known_size

    listed_size = look_for_size

    def tree(self) -> Tree:
        return Tree()

    def open_content(self, copy: str | None = None) -> Blob:
        return self.open()


LAYERS = {
    chain: Nothing(chain, diff, parent)
    for chain, diff, parent in zip(CHAIN, DIFFS, [None, *CHAIN[:-1]], strict=True)
}


def find(chain_id: ChainID) -> Layer:
    if chain_id not in LAYERS:
        raise LayerNotFound(f"layer {chain_id}")
    return LAYERS[chain_id]


def test_a_layer_holds_the_one_below_it() -> None:
    registry = LayerRegistry(find)
    top = registry.get(CHAIN[2])
    assert registry.get(CHAIN[1]) is LAYERS[CHAIN[1]]
    assert registry.references() == {CHAIN[0]: 1, CHAIN[1]: 2, CHAIN[2]: 1}
    assert registry.release(top) == [LayerMetadata(CHAIN[2], DIFFS[2], CHAIN[1], 7)]
    freed = registry.release(LAYERS[CHAIN[1]])
    assert [layer.chain_id for layer in freed] == [CHAIN[1], CHAIN[0]], "top first"
    assert registry.references() == {}


def test_nothing_is_taken_if_a_layer_of_the_stack_is_missing() -> None:
    orphan = Nothing(ChainID.of(b"orphan"), DIFFS[0], ChainID.of(b"missing"))
    registry = LayerRegistry(lambda chain_id: orphan if chain_id == orphan.chain_id else find(chain_id))
    for wanted in (orphan.chain_id, ChainID.of(b"unknown")):
        with pytest.raises(LayerNotFound):
            registry.get(wanted)
    assert registry.references() == {}


def test_releasing_too_often_is_an_error() -> None:
    registry = LayerRegistry(find)
    layer = registry.get(CHAIN[0])
    registry.release(layer)
    with pytest.raises(ImgfsError, match="released more often than taken"):
        registry.release(layer)


def test_a_stack_that_leads_back_to_itself_is_an_error() -> None:
    loop = {CHAIN[0]: CHAIN[1], CHAIN[1]: CHAIN[0]}
    registry = LayerRegistry(lambda chain_id: Nothing(chain_id, DIFFS[0], loop[chain_id]))
    with pytest.raises(LayerNotFound, match="does not end"):
        registry.get(CHAIN[0])
    assert registry.references() == {}


def test_a_layer_that_answers_for_another_is_an_error() -> None:
    registry = LayerRegistry(lambda chain_id: LAYERS[CHAIN[0]])
    with pytest.raises(LayerNotFound):
        registry.get(CHAIN[1])


def test_many_threads_leave_nothing_behind() -> None:
    registry = LayerRegistry(find)

    def take_and_give(seed: int) -> int:
        dice = random.Random(seed)
        freed = 0
        for _ in range(300):
            freed += len(registry.release(registry.get(dice.choice(CHAIN))))
        return freed

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(take_and_give, range(4))) >= 4
    assert registry.references() == {}
