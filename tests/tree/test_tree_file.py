"""Trees as bytes."""

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfs.blob import MemoryBlob
from imgfs.errors import Corrupt
from imgfs.tree import FlatPlan, Tree, dump_tree, load_tree
from tests.tree.stacks import Entry, merged, stacks, tar, tree_facts


@given(stacks())
def test_a_tree_is_the_same_after_it_was_dumped_and_loaded(stack: list[list[Entry]]) -> None:
    layers = [tar(layer) for layer in stack]
    tree = merged(layers)
    loaded = load_tree(MemoryBlob(dump_tree(tree)))
    assert tree_facts(loaded, layers) == tree_facts(tree, layers)
    assert [loaded.parents, loaded.forms] == [tree.parents, tree.forms]
    assert FlatPlan(loaded).size == FlatPlan(tree).size


def test_the_empty_tree_too() -> None:
    assert len(load_tree(MemoryBlob(dump_tree(Tree())))) == 0


@given(st.data())
def test_a_damaged_one_is_never_believed(data: st.DataObject) -> None:
    entries = [
        Entry("a", tarfile.DIRTYPE, xattr="x"),
        Entry("a/b", tarfile.SYMTYPE, "c"),
        Entry("d", tarfile.CHRTYPE),
    ]
    good = dump_tree(merged([tar(entries)]))
    if data.draw(st.booleans()):
        bad = bytearray(good)
        bad[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        bad = bytearray(good[: data.draw(st.integers(0, len(good) - 1))])
    with pytest.raises(Corrupt):
        load_tree(MemoryBlob(bytes(bad)))
