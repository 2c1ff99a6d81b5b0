"""Layers laid one over another, case by case; see also `test_overlay_as_kernel` and `test_overlay_as_umoci`.

Each case was tried with Docker 20.10 on overlay2, except where it refuses the layer.
"""

import tarfile
import time

import pytest

from imgfs.blob import MemoryBlob
from imgfs.errors import InvalidImage
from imgfs.tar import scan_blob
from imgfs.tree import NO_LAYER, Overlay, Tree, build_tree, overlay_trees
from tests.tar.archives import extended, header
from tests.tree.stacks import Entry, layer_tree, merged, tar

FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
DEVICE, PIPE = tarfile.CHRTYPE, tarfile.FIFOTYPE


def paths(tree: Tree) -> list[str]:
    return [tree.path(entry).decode() for entry in tree.walk()]


def stacked(*layers: list[Entry]) -> Tree:
    return merged([tar(layer) for layer in layers])


def entry(tree: Tree, path: str) -> int:
    found: int | None = 0
    for name in path.split("/"):
        assert found is not None
        found = tree.lookup(found, name.encode())
    assert found is not None
    return found


def test_a_whiteout_hides_what_lower_layers_have_by_name() -> None:
    below = [Entry("a/b", FILE), Entry("a/c/d", FILE), Entry("a/e", FILE)]
    assert paths(stacked(below, [Entry("a/.wh.b", FILE), Entry("a/.wh.c", FILE)])) == ["a", "a/e"]


def test_a_whiteout_is_one_whatever_its_type() -> None:
    above = [Entry(".wh.a", DIRECTORY), Entry(".wh.b", SYMLINK, "x"), Entry(".wh.c", PIPE)]
    assert paths(stacked([Entry(name, FILE) for name in "abcd"], above)) == ["d"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_whiteout_does_not_hide_its_own_layers_entry(order: int) -> None:
    tree = stacked([Entry("a", FILE, "old")], [Entry("a", FILE, "new"), Entry(".wh.a", FILE)][::order])
    assert paths(tree) == ["a"]
    assert tree.layers[1] == 1


@pytest.mark.parametrize("order", [1, -1])
def test_a_directory_with_a_whiteout_of_its_name_keeps_what_lower_layers_have_in_it(order: int) -> None:
    above = [Entry(".wh.x", FILE), Entry("x", DIRECTORY), Entry("x/new", FILE)][::order]
    assert paths(stacked([Entry("x/old", FILE)], above)) == ["x", "x/new", "x/old"]


def test_an_opaque_directory_hides_what_lower_layers_have_in_it() -> None:
    below = [Entry("a/old", FILE), Entry("a/deep/old", FILE)]
    above = [Entry("a/deep/new", FILE), Entry("a/.wh..wh..opq", FILE), Entry("a/new", FILE)]
    assert paths(stacked(below, above)) == ["a", "a/deep", "a/deep/new", "a/new"]


def test_an_opaque_root_hides_nothing() -> None:
    assert paths(stacked([Entry("a/b", FILE)], [Entry(".wh..wh..opq", FILE), Entry("c", FILE)])) == [
        *("a", "a/b", "c")
    ]


def test_the_attribute_of_overlayfs_makes_a_directory_opaque_and_is_not_shown() -> None:
    says = {b"SCHILY.xattr.trusted.overlay.opaque": b"y", b"SCHILY.xattr.user.a": b"1"}
    layer = extended(b"x", says) + header(b"a", kind=b"5") + header(b"a/new")
    tree = merged([tar([Entry("a/old", FILE)]), layer])
    assert paths(tree) == ["a", "a/new"]
    assert tree.xattrs == {1: {b"user.a": b"1"}}
    assert merged([layer]).xattrs == {1: {b"user.a": b"1"}}


def test_a_character_device_0_0_is_a_whiteout_and_so_are_links_to_it() -> None:
    below = [Entry("a", FILE), Entry("b/c", FILE), Entry("d", FILE)]
    above = [Entry("a", DEVICE, device=(0, 0)), Entry("b", DEVICE, device=(0, 0)), Entry("d", HARDLINK, "a")]
    assert paths(stacked(below, [*above, Entry("e", DEVICE)])) == ["e"]
    assert paths(stacked(above)) == []


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh..."])
def test_a_whiteout_of_nothing_hides_nothing(name: str) -> None:
    assert paths(stacked([Entry("a/b", FILE)], [Entry(name, FILE)])) == ["a", "a/b"]


def test_what_only_a_path_is_called_is_no_whiteout() -> None:
    assert paths(stacked([Entry("a", FILE)], [Entry(".wh.a/b", FILE)])) == [".wh.a", ".wh.a/b", "a"]


def test_files_of_aufs_itself_are_not_shown() -> None:
    assert paths(stacked([Entry(".wh..wh.plnk", DIRECTORY), Entry(".wh..wh.plnk/1", FILE)])) == []
    assert paths(stacked([Entry("a", FILE)], [Entry(".wh..wh.aufs", FILE)])) == ["a"]


def test_a_directory_on_a_directory_merges_with_it_and_is_what_the_upper_one_says() -> None:
    tree = stacked(
        [Entry("a", DIRECTORY, mode=0o700), Entry("a/b", FILE), Entry("a/z", FILE)],
        [Entry("a", DIRECTORY, mode=0o711), Entry("a/c", FILE)],
    )
    assert paths(tree) == ["a", "a/b", "a/c", "a/z"]
    assert tree.modes[1] & 0o7777 == 0o711
    assert list(tree.layers[1:]) == [1, 0, 1, 0]


def test_a_directory_that_a_layer_only_implies_has_the_mode_that_engines_give_it() -> None:
    tree = stacked(
        [Entry("t", DIRECTORY, mode=0o1777, owner=5), Entry("t/x", FILE)], [Entry("t/y", FILE, mtime=7)]
    )
    assert paths(tree) == ["t", "t/x", "t/y"]
    assert (tree.modes[1] & 0o7777, tree.uids[1], tree.mtimes[1]) == (0o755, 0, 7_000_000_000)
    assert tree.layers[1] == NO_LAYER


def test_a_file_replaces_a_directory_and_a_directory_a_file() -> None:
    assert paths(stacked([Entry("a/b", FILE)], [Entry("a", FILE)])) == ["a"]
    assert paths(stacked([Entry("a/b", FILE)], [Entry("a", FILE)], [Entry("a/c", FILE)])) == ["a", "a/c"]


@pytest.mark.parametrize(
    "below",
    [
        Entry("a", FILE, "x"),
        Entry("a", PIPE),
        Entry("a", DEVICE),
        Entry("a", SYMLINK, "a"),
        Entry("a", SYMLINK, "nowhere"),
        Entry("a", SYMLINK, "/usr/lib"),
    ],
)
def test_a_directory_takes_the_place_of_whatever_is_below(below: Entry) -> None:
    tree = stacked([Entry("usr/lib/libc", FILE), below], [Entry("a/b", FILE)])
    assert paths(tree) == ["a", "a/b", "usr", "usr/lib", "usr/lib/libc"]
    assert tree.modes[1] == 0o40755


def test_a_whiteout_does_not_reach_through_a_lower_layers_link() -> None:
    below = [Entry("usr/lib/libc", FILE), Entry("lib", SYMLINK, "/usr/lib")]
    assert paths(stacked(below, [Entry("lib/.wh.libc", FILE)])) == ["lib", "usr", "usr/lib", "usr/lib/libc"]


def test_links_of_a_layers_own_are_followed_to_where_it_overlays_the_lower_ones() -> None:
    below = [Entry("usr/lib/libc", FILE), Entry("usr/lib/libm", FILE)]
    above = [Entry("lib", SYMLINK, "usr/lib"), Entry("usr/lib", DIRECTORY)]
    tree = stacked(below, [*above, Entry("lib/.wh.libc", FILE), Entry("lib/new", FILE)])
    assert paths(tree) == ["lib", "usr", "usr/lib", "usr/lib/libm", "usr/lib/new"]


def test_names_of_a_file_stay_one_file_whatever_of_them_is_hidden() -> None:
    links = [Entry("b", HARDLINK, "a"), Entry("c", HARDLINK, "a"), Entry("d/e", HARDLINK, "b")]
    tree = stacked([Entry("a", FILE, "content"), *links], [Entry(".wh.a", FILE), Entry("d/f", FILE)])
    assert paths(tree) == ["b", "c", "d", "d/e", "d/f"]
    names = {tree.inode(entry(tree, path)) for path in ("b", "c", "d/e")}
    assert len(names) == 1
    assert tree.links[names.pop()] == 3


def test_a_hard_link_to_a_lower_layers_file_is_another_name_of_it() -> None:
    tree = stacked(
        [Entry("a", FILE, "content", mode=0o640), Entry("way", SYMLINK, "d"), Entry("d/x", FILE)],
        [Entry("b", HARDLINK, "a"), Entry("c", HARDLINK, "way/x"), Entry(".wh.a", FILE)],
        [Entry("e", HARDLINK, "b")],
    )
    assert paths(tree) == ["b", "c", "d", "d/x", "e", "way"]
    assert tree.inode(entry(tree, "b")) == tree.inode(entry(tree, "e"))
    assert tree.inode(entry(tree, "c")) == tree.inode(entry(tree, "d/x"))
    inode = tree.inode(entry(tree, "b"))
    assert (tree.modes[inode], tree.sizes[inode], tree.layers[inode]) == (0o100640, 7, 0)


@pytest.mark.parametrize("target", ["nowhere", "d", "link/x", "a/x"])
def test_a_hard_link_that_leads_nowhere_is_skipped_and_hides_nothing(target: str) -> None:
    below = [Entry("a", FILE), Entry("b", FILE), Entry("d", DIRECTORY), Entry("link", SYMLINK, "link")]
    problems: list[str] = []
    overlay = Overlay(problems.append)
    for layer in below, [Entry("b", HARDLINK, target), Entry("c", HARDLINK, target)]:
        overlay.apply(layer_tree(tar(layer)))
    assert paths(overlay.tree()) == ["a", "b", "d", "link"]
    assert len(problems) == 2
    assert "layer 1: 'b' is skipped: a hard link to" in problems[0]


def test_a_layer_alone_is_its_own_tree() -> None:
    tree = layer_tree(tar([Entry("a", FILE), Entry("b", HARDLINK, "a")]))
    assert overlay_trees([tree], "x") is tree


def test_no_layers_make_an_empty_tree() -> None:
    assert len(overlay_trees([], "x")) == 1


def test_very_many_layers_take_no_longer_than_as_many_entries() -> None:
    many = [[Entry("usr/lib", DIRECTORY), Entry(f"usr/lib/{number}", FILE)] for number in range(2000)]
    trees = [layer_tree(tar(layer)) for layer in many]
    flat = layer_tree(tar([Entry(f"{number}/lib/x", FILE) for number in range(2000)]))
    before = time.process_time()
    assert len(overlay_trees(trees, "x")) == 2003
    between = time.process_time()
    overlay_trees([flat, layer_tree(tar([Entry(f"{number}/lib/y", FILE) for number in range(2000)]))], "x")
    assert between - before < 5 * (time.process_time() - between)


@pytest.mark.parametrize("marker", ["d/.wh..wh..opq", "d/.wh.{}", ".wh.d"])
def test_very_many_whiteouts_take_no_longer_than_as_many_files(marker: str) -> None:
    below = layer_tree(tar([Entry(f"d/{number}", FILE) for number in range(4000)]))
    marked = layer_tree(tar([Entry(marker.format(number), FILE) for number in range(4000)]))
    files = layer_tree(tar([Entry(f"d/x{number}", FILE) for number in range(4000)]))
    # others may make garbage that is collected meanwhile
    fastest = min(_seconds(below, marked) for _ in range(3))
    assert fastest < 5 * _seconds(below, files)


def _seconds(*trees: Tree) -> float:
    before = time.process_time()
    overlay_trees(trees, "x")
    return time.process_time() - before


def test_layers_that_are_too_large_together_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = layer_tree(tar([Entry(f"{number}" * 10, SYMLINK, "x" * 90) for number in range(10)]))
    assert len(overlay_trees([tree] * 9, "image")) == 11
    monkeypatch.setattr("imgfs.tree.overlay.MAX_ENTRIES", 100)
    with pytest.raises(InvalidImage, match="image: layer 9: more than 100 entries"):
        overlay_trees([tree] * 10, "image")
    monkeypatch.setattr("imgfs.tree.overlay.MAX_TEXT", 4500)
    with pytest.raises(InvalidImage, match="image: layer 4: more than 0 MiB of names"):
        overlay_trees([tree] * 10, "image")


def test_links_through_more_directories_than_there_can_be_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imgfs.tree.overlay._MAX_STEPS", 1000)
    links = [Entry(str(number), HARDLINK, "x/" * 20 + "x") for number in range(100)]
    below = layer_tree(tar([Entry("x/" * 20 + "x", FILE)]))
    with pytest.raises(InvalidImage, match="image: links that lead through too many"):
        overlay_trees([below, layer_tree(tar(links))], "image")


def test_what_is_skipped_is_logged_with_a_name(caplog: pytest.LogCaptureFixture) -> None:
    links = tar([Entry(str(number), HARDLINK, "nowhere") for number in range(30)])
    overlay_trees([build_tree(scan_blob(MemoryBlob(links)), "image: layer 0")], "image")
    assert "image: layer 0: '0' is skipped: a hard link to 'nowhere'" in caplog.text
    assert "image: 10 more links are skipped" in caplog.text
