"""Trees as bytes."""

import io
import stat
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfs.blob import FileBlob, MemoryBlob
from imgfs.errors import Corrupt
from imgfs.tree import FlatPlan, Tree, dump_tree, load_tree
from tests.tree.stacks import Entry, merged, stacks, tar, tree_facts


def _dumped(tree: Tree) -> bytes:
    file = io.BytesIO()
    dump_tree(tree, file)
    return file.getvalue()


@given(stacks())
def test_a_tree_is_the_same_after_it_was_dumped_and_loaded(stack: list[list[Entry]]) -> None:
    layers = [tar(layer) for layer in stack]
    tree = merged(layers)
    loaded = load_tree(MemoryBlob(_dumped(tree)), len(layers))
    assert tree_facts(loaded, layers) == tree_facts(tree, layers)
    assert [loaded.parents, loaded.forms] == [tree.parents, tree.forms]
    assert FlatPlan(loaded).size == FlatPlan(tree).size


def test_the_empty_tree_too_and_what_its_copies_are_called() -> None:
    tree = _large(0, {})
    tree.copies[7] = "a copy"
    loaded = load_tree(MemoryBlob(_dumped(tree)), 8)
    assert (len(loaded), loaded.copies) == (1, {7: "a copy"})


@given(st.data())
def test_a_damaged_one_is_never_believed(data: st.DataObject) -> None:
    entries = [
        Entry("a", tarfile.DIRTYPE, xattr="x"),
        Entry("a/b", tarfile.SYMTYPE, "c"),
        Entry("d", tarfile.CHRTYPE),
    ]
    good = _dumped(merged([tar(entries)]))
    if data.draw(st.booleans()):
        bad = bytearray(good)
        bad[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        bad = bytearray(good[: data.draw(st.integers(0, len(good) - 1))])
    with pytest.raises(Corrupt):
        load_tree(MemoryBlob(bytes(bad)), 1)


def _large(count: int, xattrs: dict[bytes, bytes]) -> Tree:
    """A directory of files that all have equal attributes, every second the same object."""
    tree = Tree()
    tree.append(0, b"", stat.S_IFDIR, (0, 0), 0, 0, (0, 0, 0))
    for number in range(count):
        entry = tree.append(0, b"%d" % number, stat.S_IFREG, (0, 0), 0, 0, (0, 0, 0))
        tree.xattrs[entry] = xattrs if number % 2 else dict(xattrs)
    tree.set_children(0, 1, count)
    return tree


def test_equal_attributes_are_written_once_and_shared() -> None:
    xattrs = {b"user.a": bytes(100_000)}
    tree = _large(5000, xattrs)
    data = _dumped(tree)
    assert len(data) < 1_000_000
    loaded = load_tree(MemoryBlob(data), 1)
    assert loaded.xattrs == tree.xattrs
    assert len(set(map(id, loaded.xattrs.values()))) == 1


def test_attributes_that_all_differ_are_the_same_after_it() -> None:
    tree = _large(5000, {})
    tree.xattrs = {entry: {b"user.a": b"%d" % entry, b"user.b": bytes(entry)} for entry in range(1, 5000)}
    assert load_tree(MemoryBlob(_dumped(tree)), 1).xattrs == tree.xattrs


def test_dumping_takes_no_memory_and_loading_that_of_the_tree(tmp_path: Path) -> None:
    tree = _large(50_000, {b"user.a": b"1"})
    with open(tmp_path / "tree", "wb") as file:
        tracemalloc.start()
        dump_tree(tree, file)
    _, dumped = tracemalloc.get_traced_memory()
    size = (tmp_path / "tree").stat().st_size
    with FileBlob(tmp_path / "tree") as blob:
        tracemalloc.reset_peak()
        loaded = load_tree(blob, 1)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(loaded) == len(tree)
    assert dumped < size / 4
    assert peak < kept + (4 << 20)


def _unsound(tree: Tree) -> dict[str, Callable[[], object]]:
    """Ways to break a tree of a directory and a link, 1 and 2, and two names of a file in the directory, 3 and 4."""
    return {
        "a directory in itself": lambda: tree.set_children(1, 1, 1),
        "a directory above it in it": lambda: tree.set_children(1, 0, 1),
        "an entry in two directories": lambda: tree.set_children(1, 2, 3),
        "an entry in none": lambda: tree.set_children(1, 3, 1),
        "children past the end": lambda: tree.set_children(1, 3, 1 << 31),
        "a root that is none": lambda: tree.modes.__setitem__(0, stat.S_IFREG),
        "a parent past the end": lambda: tree.parents.__setitem__(3, 1000),
        "a layer too many": lambda: tree.layers.__setitem__(2, 1),
        "another name of nothing": lambda: tree.same.__setitem__(4, 1000),
        "a sparse file of parts below 0": lambda: tree.sparse.__setitem__(3, [(-1, 5)]),
        "attributes of nothing": lambda: tree.xattrs.__setitem__(1000, {}),
        "a size beyond all": lambda: tree.sizes.__setitem__(2, (1 << 64) - 1),
        "a device beyond all": lambda: tree.devices.__setitem__(2, (1 << 40, 1)),
        "names that end before they begin": lambda: tree.name_ends.__setitem__(1, 1 << 40),
    }


@pytest.mark.parametrize("way", _unsound(Tree()))
def test_one_whose_hash_is_right_and_that_is_no_tree_is_not_believed(way: str) -> None:
    """As another program might write it; what is believed must not make looking at it fail, or last for ever."""
    entries = [
        Entry("d", tarfile.DIRTYPE),
        Entry("d/a", tarfile.REGTYPE, "a"),
        Entry("d/b", tarfile.LNKTYPE, "d/a"),
        Entry("e", tarfile.SYMTYPE, "d"),
    ]
    tree = merged([tar(entries)])
    assert len(load_tree(MemoryBlob(_dumped(tree)), 1)) == len(tree)
    _unsound(tree)[way]()
    with pytest.raises(Corrupt):
        load_tree(MemoryBlob(_dumped(tree)), 1)
