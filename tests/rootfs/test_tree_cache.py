"""Trees kept in the cache."""

import logging
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imgfs.cache import Cache
from imgfs.digest import DiffID
from imgfs.errors import InvalidImage
from imgfs.rootfs.tree_cache import TreeCache
from imgfs.store import LayerStack
from imgfs.tree import Tree, build
from tests.store.stores import Layers, PlainLayer
from tests.tree.stacks import Entry, tar

MANY = tar([Entry(f"d/{number:04}", tarfile.REGTYPE) for number in range(1200)])
ABOVE = tar([Entry("d/.wh.0000", tarfile.REGTYPE)])


@dataclass(frozen=True)
class CountedLayer(PlainLayer):
    """A layer, verified or not, that notes when it is asked for its tree."""

    is_verified: bool = True
    asked: list[DiffID] = field(default_factory=list)
    copy: str | None = None

    def tree(self) -> Tree:
        self.asked.append(self.diff_id)
        tree = super().tree()
        if self.copy is not None:
            tree.copies[0] = self.copy
        return tree


class CountedStack(LayerStack):
    """A stack that knows how often its layers were asked for their trees."""

    def __init__(self, *layers: bytes, verified: bool = True, copy: str | None = None) -> None:
        self.provider = Layers(layers)
        self._asked: list[DiffID] = []
        table = self.provider.table
        for chain_id, layer in table.items():
            assert isinstance(layer, PlainLayer)
            counted = CountedLayer(
                chain_id, layer.diff_id, layer.parent, layer.data, None, verified, self._asked, copy
            )
            table[chain_id] = counted
        super().__init__(self.provider, [layer.diff_id for layer in table.values()])

    @property
    def asked(self) -> int:
        return len(self._asked)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"), 1 << 30)


def test_a_tree_is_merged_once_and_found_by_others(cache: Cache) -> None:
    stack, again = CountedStack(MANY, ABOVE), CountedStack(MANY, ABOVE)
    tree = TreeCache(cache).merged(stack, "x")
    found = TreeCache(cache).merged(again, "x")
    assert (stack.asked, again.asked) == (2, 0)
    assert [found.path(entry) for entry in found.walk()] == [tree.path(entry) for entry in tree.walk()]


def test_a_layer_alone_is_another_tree_than_the_stack_up_to_it(cache: Cache) -> None:
    both = CountedStack(MANY, ABOVE)
    assert len(TreeCache(cache).merged(both, "x")) == 1201
    tree = TreeCache(cache).layer(both, 1, "x")
    assert [tree.path(entry) for entry in tree.walk()] == [b"d", b"d/.wh.0000"]


@pytest.mark.parametrize("kept", [True, False])
def test_the_tree_of_a_layer_is_made_once_for_all_images_that_have_it(cache: Cache, kept: bool) -> None:
    """Whether there is a cache to keep it or not; and images' own trees are made of it."""
    trees = TreeCache(cache if kept else None)
    alone, one, other = CountedStack(MANY), CountedStack(MANY, ABOVE), CountedStack(MANY, MANY)
    tree = trees.layer(alone, 0, "x")
    assert trees.merged(alone, "x") is tree
    assert len(trees.merged(one, "x")) == 1201
    assert len(trees.merged(other, "x")) == 1202
    assert (alone.asked, one.asked, other.asked) == (1, 1, 0)


def test_the_tree_of_an_unverified_layer_is_no_other_images(cache: Cache) -> None:
    """What calls itself by a diff ID that is not its own is not shown where the right one is due."""
    trees = TreeCache(cache)
    trees.merged(CountedStack(MANY, verified=False), "x")
    stack = CountedStack(MANY)
    trees.merged(stack, "x")
    assert stack.asked == 1


def test_the_tree_of_an_unverified_layer_is_made_once_while_the_layer_is_in_use() -> None:
    """Of Docker's layers none is ever verified, and each image has those of its base."""
    trees = TreeCache(None)
    stack = CountedStack(MANY, ABOVE, verified=False)
    stack.take()
    base = LayerStack(stack.provider, stack.diff_ids[:1])
    trees.merged(stack, "x")
    trees.merged(base, "y")
    assert stack.asked == 2


def test_a_tree_whose_places_one_copy_alone_knows_is_not_kept_for_others(cache: Cache) -> None:
    """Though the layer was verified, in another copy."""
    trees = TreeCache(cache)
    stack = CountedStack(MANY, ABOVE, copy="a copy")
    assert trees.merged(stack, "x").copies == {0: "a copy", 1: "a copy"}
    assert cache.entries() == []
    assert trees.merged(CountedStack(MANY, ABOVE), "x").copies == {}


def test_what_comes_of_bytes_that_nobody_verified_is_not_kept(cache: Cache) -> None:
    for _ in range(2):
        stack = CountedStack(MANY, verified=False)
        TreeCache(cache).merged(stack, "x")
        assert stack.asked == 1


def test_small_trees_are_not_kept(cache: Cache) -> None:
    TreeCache(cache).merged(CountedStack(ABOVE), "x")
    assert cache.entries() == []


def test_a_damaged_one_is_merged_anew(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    TreeCache(cache).merged(CountedStack(MANY), "x")
    (entry,) = cache.entries()
    data = bytearray(Path(entry.path).read_bytes())
    data[len(data) // 2] ^= 1
    Path(entry.path).write_bytes(data)
    stack = CountedStack(MANY)
    assert len(TreeCache(cache).merged(stack, "the image")) == 1202
    assert stack.asked == 1
    assert "the image is merged again" in caplog.text


def test_without_a_cache_trees_are_made_all_the_same() -> None:
    assert len(TreeCache(None).merged(CountedStack(MANY), "x")) == 1202


def test_a_tree_beyond_a_limit_is_named_with_its_image_and_its_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "MAX_ENTRIES", 100)
    stack = CountedStack(ABOVE, MANY)
    with pytest.raises(InvalidImage, match=f"^image x: layer {stack.diff_ids[1]}: more than 100 entries"):
        TreeCache(None).merged(stack, "image x")


def test_small_layers_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int | None] = [1000]
    monkeypatch.setattr("imgfs.rootfs.tree_cache.stored_size", lambda layer: sizes[0])
    monkeypatch.setattr("imgfs.rootfs.tree_cache._MOST_OF_SMALL", 2000)
    trees = TreeCache(None)
    assert len(trees.merged(CountedStack(MANY), "x")) == 1202
    stack = CountedStack(MANY, ABOVE, MANY)
    for make in (lambda: trees.merged(stack, "x"), lambda: list(trees.each(stack, "x"))):
        with pytest.raises(
            InvalidImage, match=r"x: layer 2: more than 2000 entries in all layers.* in 3000 bytes"
        ):
            make()
    for sizes[0] in (10 << 20, None):
        assert len(trees.merged(stack, "x")) == 1202
