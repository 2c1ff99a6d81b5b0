"""Trees kept in the cache."""

import logging
import tarfile
from pathlib import Path

import pytest

from imgfs.cache import Cache
from imgfs.errors import InvalidImage
from imgfs.rootfs.tree_cache import TreeCache
from imgfs.store import LayerStack
from imgfs.tree import build
from tests.store.stores import Layers
from tests.tree.stacks import Entry, tar

MANY = tar([Entry(f"d/{number:04}", tarfile.REGTYPE) for number in range(1200)])
ABOVE = tar([Entry("d/.wh.0000", tarfile.REGTYPE)])


class CountedStack(LayerStack):
    """A stack that counts how often its members were asked for, of layers that were verified or not."""

    def __init__(self, *layers: bytes, verified: bool = True) -> None:
        provider = Layers(layers)
        super().__init__(provider, [layer.diff_id for layer in provider.table.values()])
        self.asked = 0
        self._verified = verified

    def members_of(self, number: int):  # type: ignore[no-untyped-def]  # as in the base
        self.asked += 1
        return super().members_of(number)

    def is_verified(self, number: int) -> bool:
        return self._verified


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"), 1 << 30)


def test_a_tree_is_merged_once_and_found_by_others(cache: Cache) -> None:
    stack, again = CountedStack(MANY, ABOVE), CountedStack(MANY, ABOVE)
    tree = TreeCache(cache).tree(stack, None, "x")
    found = TreeCache(cache).tree(again, None, "x")
    assert (stack.asked, again.asked) == (2, 0)
    assert [found.path(entry) for entry in found.walk()] == [tree.path(entry) for entry in tree.walk()]


def test_a_layer_alone_is_another_tree_than_the_stack_up_to_it(cache: Cache) -> None:
    both = CountedStack(MANY, ABOVE)
    assert len(TreeCache(cache).tree(both, None, "x")) == 1201
    tree = TreeCache(cache).tree(both, 1, "x")
    assert [tree.path(entry) for entry in tree.walk()] == [b"d", b"d/.wh.0000"]


@pytest.mark.parametrize("kept", [True, False])
def test_the_tree_of_a_layer_is_made_once_for_all_images_that_have_it(cache: Cache, kept: bool) -> None:
    """Whether there is a cache to keep it or not; and images' own trees are made of it."""
    trees = TreeCache(cache if kept else None)
    alone, one, other = CountedStack(MANY), CountedStack(MANY, ABOVE), CountedStack(MANY, MANY)
    tree = trees.tree(alone, 0, "x")
    assert trees.tree(alone, None, "x") is tree
    assert len(trees.tree(one, None, "x")) == 1201
    assert len(trees.tree(other, None, "x")) == 1202
    assert (alone.asked, one.asked, other.asked) == (1, 1, 0)


def test_the_tree_of_an_unverified_layer_is_no_other_images(cache: Cache) -> None:
    """What calls itself by a diff ID that is not its own is not shown where the right one is due."""
    trees = TreeCache(cache)
    trees.tree(CountedStack(MANY, verified=False), None, "x")
    stack = CountedStack(MANY)
    trees.tree(stack, None, "x")
    assert stack.asked == 1


def test_what_comes_of_bytes_that_nobody_verified_is_not_kept(cache: Cache) -> None:
    for _ in range(2):
        stack = CountedStack(MANY, verified=False)
        TreeCache(cache).tree(stack, None, "x")
        assert stack.asked == 1


def test_small_trees_are_not_kept(cache: Cache) -> None:
    TreeCache(cache).tree(CountedStack(ABOVE), None, "x")
    assert cache.entries() == []


def test_a_damaged_one_is_merged_anew(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    TreeCache(cache).tree(CountedStack(MANY), None, "x")
    (entry,) = cache.entries()
    data = bytearray(Path(entry.path).read_bytes())
    data[len(data) // 2] ^= 1
    Path(entry.path).write_bytes(data)
    stack = CountedStack(MANY)
    assert len(TreeCache(cache).tree(stack, None, "the image")) == 1202
    assert stack.asked == 1
    assert "the image is merged anew" in caplog.text


def test_without_a_cache_trees_are_made_all_the_same() -> None:
    assert len(TreeCache(None).tree(CountedStack(MANY), None, "x")) == 1202


def test_a_tree_beyond_a_limit_is_named_with_its_image_and_its_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build, "MAX_ENTRIES", 100)
    stack = CountedStack(ABOVE, MANY)
    with pytest.raises(InvalidImage, match=f"^image x: layer {stack.diff_ids[1]}: more than 100 entries"):
        TreeCache(None).tree(stack, None, "image x")
