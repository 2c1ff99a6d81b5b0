"""Trees held in columns."""

import tarfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfs.tree import Paths
from tests.tree.stacks import Entry, layer_tree, merged, tar

NAMES = st.lists(st.binary(min_size=1, max_size=8).filter(lambda name: not {0, 47} & set(name)), unique=True)


@given(NAMES.map(lambda names: [name for name in names if name not in (b".", b"..")]))
def test_every_name_is_found_and_no_other(names: list[bytes]) -> None:
    files = [Entry("d/" + name.decode("utf-8", "surrogateescape"), tarfile.REGTYPE) for name in names]
    tree = layer_tree(tar([Entry("d", tarfile.DIRTYPE), *files]))
    directory = tree.lookup(0, b"d")
    assert directory is not None
    assert [tree.name(entry) for entry in tree.children(directory)] == sorted(names)
    for name in names:
        entry = tree.lookup(directory, name)
        assert entry is not None
        assert tree.path(entry) == b"d/" + name
        assert tree.parents[entry] == directory
        assert tree.lookup(directory, name + b"x") in (None, *tree.children(directory))
    assert tree.lookup(directory, b"\xff" * 9) is None


def test_names_and_targets_are_kept_apart() -> None:
    entries = [Entry(name, tarfile.SYMTYPE, f"to-{name}") for name in ("a", "b", "c")]
    tree = merged([tar([*entries, Entry("d", tarfile.REGTYPE)])])
    assert [tree.name(entry) for entry in tree.walk()] == [b"a", b"b", b"c", b"d"]
    assert [tree.target(entry) for entry in (1, 2, 3)] == [b"to-a", b"to-b", b"to-c"]


def test_a_file_has_no_children() -> None:
    tree = merged([tar([Entry("a", tarfile.REGTYPE)])])
    assert list(tree.children(1)) == []
    assert tree.lookup(1, b"a") is None


def test_links_count_names_of_files_and_subdirectories_of_directories() -> None:
    entries = [Entry("d", tarfile.DIRTYPE), Entry("d/e", tarfile.DIRTYPE), Entry("d/f", tarfile.REGTYPE)]
    tree = merged([tar([*entries, Entry("g", tarfile.LNKTYPE, "d/f")])])
    links = {tree.path(entry): tree.links[tree.inode(entry)] for entry in tree.walk()}
    assert links == {b"d": 3, b"d/e": 2, b"d/f": 2, b"g": 2}


def test_paths_that_are_remembered_are_those_of_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.tree.tree._MAX_REMEMBERED", 10_000)
    names = [f"{folder}/" + "d/" * depth + "f" for folder in "ab" for depth in range(0, 300, 7)]
    tree = merged([tar([Entry(name, tarfile.REGTYPE) for name in names])])
    paths = Paths(tree)
    assert [paths.of(entry) for entry in tree.walk()] == [tree.path(entry) for entry in tree.walk()]


def test_the_paths_of_many_deep_files_take_no_longer_than_their_bytes_do() -> None:
    deep = "d/" * 1900
    tree = merged([tar([Entry(f"{deep}{number}/f", tarfile.REGTYPE) for number in range(5000)])])
    paths = Paths(tree)
    before = time.process_time()
    for entry in tree.walk():
        paths.of(entry)
    assert time.process_time() - before < 2
