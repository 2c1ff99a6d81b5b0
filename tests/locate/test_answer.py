"""What is found, compared with the root file systems that the same layers make."""

import tarfile
from collections.abc import Sequence
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings

from imgfs.locate.answer import answer
from imgfs.locate.layer_columns import LayerColumns
from imgfs.locate.pattern import parse_pattern
from imgfs.locate.place import CAPABLE
from imgfs.locate.search import Query
from imgfs.tree import Tree, overlay_trees
from tests.locate.indexed import Indexed
from tests.tree.stacks import Entry, layer_tree, stacks, tar

FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
EVERYTHING = Query(kind=lambda kind: True)

Facts = tuple[int, int, int, int, int]


def facts_of(tree: Tree, entry: int) -> Facts:
    of = tree.inode(entry)
    return tree.modes[of], tree.uids[of], tree.gids[of], tree.sizes[of], tree.mtimes[of]


def shown(columns: LayerColumns, entry: int) -> Facts:
    kind = columns.kind(entry)
    return kind.mode, kind.uid, kind.gid, columns.sizes[entry], columns.mtimes[entry]


def compare(trees: Sequence[Tree]) -> None:
    """Compare what is found in each image that the lowest of some layers make with its root file system."""
    images = [range(count + 1) for count in range(len(trees))]
    hits = Indexed(trees, images).hits(EVERYTHING)
    with patch("imgfs.locate.visibility._OFTEN", 0):  # as where many names of a directory are asked for
        assert [(hit.path, hit.seen_in) for hit in Indexed(trees, images).hits(EVERYTHING)] == [
            (hit.path, hit.seen_in) for hit in hits
        ]
    for number, image in enumerate(images):
        merged = overlay_trees([trees[layer] for layer in image], "test")
        theirs = sorted((merged.path(entry), facts_of(merged, entry)) for entry in merged.walk())
        ours = [
            (hit.path, shown(hit.columns, hit.entry))
            for hit in hits
            if str(number) in [root.id for root in hit.seen_in]
        ]
        assert sorted(ours) == theirs


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stacks(devices=[(5, 1), (0, 0)]))
def test_what_is_seen_in_random_images_is_what_is_in_their_root_file_systems(
    stack: list[list[Entry]],
) -> None:
    compare([layer_tree(tar(layer)) for layer in stack])


@pytest.mark.parametrize(
    "stack",
    [
        [[Entry("a/b", FILE, "b")], [Entry("a", FILE)], [Entry("a/c", FILE)]],
        [[Entry("a/b", FILE)], [Entry(".wh.a", FILE)]],
        [[Entry("a/b", FILE)], [Entry("a/.wh..wh..opq", FILE), Entry("a/c", FILE)]],
        [[Entry("a/b", FILE)], [Entry("a", tarfile.CHRTYPE, device=(0, 0))]],
        [[Entry("a", FILE, "content", owner=7)], [Entry("b", HARDLINK, "a")], [Entry("c", HARDLINK, "b")]],
        [
            [Entry("a", FILE, "1")],
            [Entry(".wh.a", FILE)],
            [Entry("b", HARDLINK, "a"), Entry("b", HARDLINK, "a")],
        ],
        [[Entry("d/a", FILE, "1"), Entry("l", SYMLINK, "d")], [Entry("b", HARDLINK, "l/a")]],
        [[Entry("b/c", FILE)], [Entry("b", HARDLINK, "nowhere")]],
        [[Entry("a", FILE, "1"), Entry("b", FILE, "22")], [Entry("b", HARDLINK, "a")]],
        [[Entry("a", DIRECTORY, mode=0o700), Entry("a/b", FILE)], [Entry("a/c", FILE)]],
        [
            [Entry("a/.wh.b", DIRECTORY), Entry("a/.wh.b/c", FILE), Entry("a/b", FILE)],
            [Entry("a/.wh.b/d", FILE)],
        ],
    ],
)
def test_what_is_hard_to_tell_is_as_in_the_root_file_system(stack: list[list[Entry]]) -> None:
    compare([layer_tree(tar(layer)) for layer in stack])


def test_deleted_files_are_found_where_a_later_layer_hides_them() -> None:
    layers = [
        [Entry("a/key", FILE), Entry("b", DIRECTORY)],
        [Entry("a/.wh.key", FILE), Entry("b", DIRECTORY)],
    ]
    indexed = Indexed([layer_tree(tar(layer)) for layer in layers], [[0], [0, 1]])
    found = {
        (hit.path, hit.diff_id): ([root.id for root in hit.seen_in], [root.id for root in hit.hidden_in])
        for hit in indexed.hits(EVERYTHING, deleted=True)
    }
    assert found == {
        (b"a", "0"): (["0"], []),
        (b"a", "1"): (["1"], []),
        (b"a/key", "0"): (["0"], ["1"]),
        (b"b", "0"): (["0"], []),
        (b"b", "1"): (["1"], []),
    }


def test_results_are_sorted_all_or_those_of_each_layer() -> None:
    trees = [layer_tree(tar([Entry(name, FILE) for name in names])) for names in (("c", "b"), ("d", "a"))]
    indexed = Indexed(trees, [[0, 1]])
    everything = Query(pattern=parse_pattern("*"))
    for by_layer, paths in ((False, "abcd"), (True, "bcad")):
        hits = answer(everything, indexed.machine, indexed.catalog, by_layer=by_layer)
        assert b"".join(hit.path for hit in hits).decode() == paths


def test_what_a_hard_link_leads_to_is_compared_with_what_is_asked() -> None:
    layers = [[Entry("a", FILE, "content", owner=7)], [Entry("b", HARDLINK, "a")]]
    indexed = Indexed([layer_tree(tar(layer)) for layer in layers], [[0, 1]])
    assert indexed.paths(Query(kind=lambda kind: kind.uid == 7)) == ["a", "b"]
    assert indexed.paths(Query(size=(7, 7))) == ["a", "b"]
    assert indexed.paths(Query(size=(8, 9))) == []


def test_a_layer_that_is_twice_in_an_image_counts_once() -> None:
    trees = [layer_tree(tar([Entry("a", FILE)])), layer_tree(tar([Entry(".wh.a", FILE)]))]
    indexed = Indexed(trees, [[0, 1, 0], [0, 1]])
    assert [[root.id for root in hit.seen_in] for hit in indexed.hits(EVERYTHING)] == [["0"]]


def test_capabilities_are_found_on_all_names_of_a_file() -> None:
    tree = layer_tree(tar([Entry("a", FILE, "x"), Entry("b", HARDLINK, "a"), Entry("c", FILE)]))
    tree.xattrs[tree.inode(1)] = {b"security.capability": b"\1"}
    assert Indexed([tree], [[0]]).paths(Query(kind=lambda kind: bool(kind.flags & CAPABLE))) == ["a", "b"]
