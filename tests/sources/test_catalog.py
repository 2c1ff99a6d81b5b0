"""What a look at a place yields, and what the next one keeps of it."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imgfs.digest import ChainID, DiffID, ImageID
from imgfs.errors import LayerNotFound, StoreError
from imgfs.layers import Indexer, Layer, LayerChoice, chain_ids
from imgfs.sources.catalog import Catalog
from imgfs.sources.finder import Artifact, FoundImage
from imgfs.store import Image, KeptDocument
from tests.images import TestImage, layer_tar
from tests.indexing import indexing
from tests.store.stores import Layers

SHARED, ONE, TWO = (layer_tar({name: name.encode()}) for name in ("shared", "one", "two"))


@dataclass(frozen=True)
class _LayerRef:
    """A layer of a table; counts how often it is resolved."""

    tar: bytes
    where: str = ""
    is_there: bool = True
    resolved: list[ChainID] = field(default_factory=list, compare=False)

    @property
    def key(self) -> Hashable:
        return self.tar, self.where

    def resolve(self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, indexer: Indexer) -> Layer:
        self.resolved.append(chain_id)
        if not self.is_there:
            raise StoreError("it was taken away")
        return Layers([self.tar]).table[ChainID(DiffID.of(self.tar))]


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    with indexing(tmp_path) as indexer:
        yield indexer


def _found(*refs: _LayerRef, tags: Sequence[str] = (), parent: ImageID | None = None) -> FoundImage:
    config = TestImage([ref.tar for ref in refs]).config
    return FoundImage(
        Image.from_config(config), refs, tags, parent, KeptDocument(b"manifest of " + refs[-1].tar[:3])
    )


def _read(indexer: Indexer, *found: FoundImage | Artifact, before: Catalog | None = None) -> Catalog:
    catalog = Catalog("place", indexer, before)
    catalog.read(found)
    return catalog


def _top(found: FoundImage) -> ChainID:
    return list(chain_ids(found.image.diff_ids))[-1]


def test_everything_found_is_there(indexer: Indexer) -> None:
    one = _found(_LayerRef(ONE), tags=["one:1", "one:2"])
    two = _found(_LayerRef(TWO), tags=["one:1"], parent=one.image.id)
    artifact = Artifact(DiffID.of(b"x"), "a chart")
    catalog = _read(indexer, one, artifact, two)
    assert list(catalog.images) == [one.image.id, two.image.id]
    assert catalog.tags == {"one:1": one.image.id, "one:2": one.image.id}
    assert catalog.parents == {two.image.id: one.image.id}
    assert catalog.artifacts == [artifact]
    assert catalog.manifest(one.image.id) == KeptDocument(b"manifest of " + ONE[:3])
    assert catalog.layer(_top(one)).diff_id == DiffID.of(ONE)


def test_a_layer_found_again_is_the_same_and_is_not_resolved_again(indexer: Indexer) -> None:
    one, two = _found(_LayerRef(ONE)), _found(_LayerRef(TWO))
    first = _read(indexer, one)
    second = _read(indexer, one, two, before=first)
    assert second.layer(_top(one)) is first.layer(_top(one))
    third = _read(indexer, one, before=second)
    assert third.layer(_top(one)) is first.layer(_top(one))
    assert one.layers[0].resolved == [_top(one)]  # type: ignore[attr-defined]
    with pytest.raises(LayerNotFound):
        third.layer(_top(two))
    assert (first.is_as(third), second.is_as(third)) == (True, False)


def test_a_layer_that_lies_elsewhere_now_is_another(indexer: Indexer) -> None:
    here, there = _found(_LayerRef(ONE, "here")), _found(_LayerRef(ONE, "there"))
    first = _read(indexer, here)
    second = _read(indexer, there, before=first)
    assert second.layer(_top(there)) is not first.layer(_top(here))
    assert not second.is_as(first)


def test_one_of_several_copies_is_chosen(indexer: Indexer) -> None:
    catalog = _read(indexer, _found(_LayerRef(ONE, "here")), _found(_LayerRef(ONE, "there")))
    layer = catalog.layer(ChainID(DiffID.of(ONE)))
    assert isinstance(layer, LayerChoice)
    assert len(list(layer.others())) == 1
    assert catalog.layer(ChainID(DiffID.of(ONE))) is layer


def test_a_layer_that_is_missing_is_looked_for_again(indexer: Indexer) -> None:
    gone, back = _found(_LayerRef(ONE, is_there=False)), _found(_LayerRef(ONE))
    first = _read(indexer, gone)
    with pytest.raises(StoreError, match="taken away"):
        first.layer(_top(gone))
    assert _read(indexer, back, before=first).layer(_top(back)).diff_id == DiffID.of(ONE)


def test_an_image_with_other_layers_than_its_config_says_has_none(indexer: Indexer) -> None:
    found = FoundImage(_found(_LayerRef(SHARED), _LayerRef(ONE)).image, [_LayerRef(SHARED)])
    catalog = _read(indexer, found)
    with pytest.raises(StoreError, match="1 layers where its config has 2 diff IDs"):
        catalog.layer(_top(found))


def test_what_is_beyond_the_budget_is_left_out_with_a_problem(
    indexer: Indexer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgfs.sources.catalog._MEMORY", 20_000)
    found = [_found(_LayerRef(layer_tar({f"{n}": b""}))) for n in range(20)]
    catalog = _read(indexer, *found)
    assert 0 < len(catalog.images) < 20
    (problem,) = catalog.problems
    assert "leaving out what else is there" in problem
    again = _read(indexer, *found, before=catalog)
    assert len(again.images) == len(catalog.images)
