"""What layers applied one on another make, and what is left out; see also `test_merge_as_umoci`."""

import tarfile
import time

import pytest

from imgfs.blob import MemoryBlob
from imgfs.errors import InvalidImage
from imgfs.tar import Member, Merger, Tree, scan_blob
from tests.tar.stacks import Entry, merged, tar

FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def paths(tree: Tree) -> list[str]:
    return [tree.path(entry).decode() for entry in tree.walk()]


def left_out(*entries: Entry) -> tuple[list[str], list[str]]:
    """The paths that some entries make, and what is said to be left out."""
    problems: list[str] = []
    merger = Merger(problems.append)
    merger.apply(scan_blob(MemoryBlob(tar(entries))))
    return paths(merger.tree()), problems


def test_a_whiteout_hides_what_lower_layers_have() -> None:
    tree = merged([tar([Entry("a/b", FILE), Entry("a/c", FILE)]), tar([Entry("a/.wh.b", FILE)])])
    assert paths(tree) == ["a", "a/c"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_whiteout_does_not_hide_its_own_layers_entry(order: int) -> None:
    entries = [Entry("a", FILE, "new"), Entry(".wh.a", FILE)][::order]
    assert paths(merged([tar([Entry("a", FILE, "old")]), tar(entries)])) == ["a"]


def test_an_opaque_directory_hides_only_what_lower_layers_have() -> None:
    below = tar([Entry("a/old", FILE), Entry("a/deep/old", FILE)])
    above = tar([Entry("a/deep/new", FILE), Entry("a/.wh..wh..opq", FILE), Entry("a/new", FILE)])
    assert paths(merged([below, above])) == ["a", "a/deep", "a/deep/new", "a/new"]


def test_raw_trees_show_whiteouts_as_they_are_stored() -> None:
    tree = merged([tar([Entry("a/.wh.b", FILE), Entry("a/.wh..wh..opq", FILE)])], raw=True)
    assert paths(tree) == ["a", "a/.wh..wh..opq", "a/.wh.b"]


def test_directories_that_a_layer_implies_are_not_hidden_by_it_even_if_nothing_is_in_them() -> None:
    marker = Entry("a/.wh..wh..opq", FILE)
    found, problems = left_out(marker, Entry("a/b/link", HARDLINK, "nowhere"), marker)
    assert found == ["a", "a/b"]
    assert len(problems) == 1


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh..."])
def test_a_whiteout_of_nothing_hides_nothing(name: str) -> None:
    assert left_out(Entry("a/b", FILE), Entry(name, FILE))[0] == ["a", "a/b"]


def test_files_of_aufs_itself_are_not_shown() -> None:
    assert left_out(Entry(".wh..wh.plnk", FILE), Entry("a", FILE)) == (["a"], [])


def test_a_directory_on_a_directory_keeps_what_is_in_it_and_changes_what_it_is() -> None:
    tree = merged(
        [
            tar([Entry("a", DIRECTORY, mode=0o700), Entry("a/b", FILE)]),
            tar([Entry("a", DIRECTORY, mode=0o755)]),
        ]
    )
    assert paths(tree) == ["a", "a/b"]
    assert tree.modes[1] & 0o7777 == 0o755


def test_a_file_on_a_directory_replaces_all_of_it_and_a_directory_on_a_file_too() -> None:
    assert paths(merged([tar([Entry("a/b", FILE)]), tar([Entry("a", FILE)])])) == ["a"]
    assert paths(merged([tar([Entry("a", FILE)]), tar([Entry("a", DIRECTORY), Entry("a/b", FILE)])])) == [
        "a",
        "a/b",
    ]


def test_symbolic_links_on_the_way_are_followed_inside_the_root() -> None:
    tree = merged([tar([Entry("real/x", FILE), Entry("way", SYMLINK, "/../../real"), Entry("way/y", FILE)])])
    assert paths(tree) == ["real", "real/x", "real/y", "way"]


def test_a_link_that_changes_direction_leads_elsewhere_from_then_on() -> None:
    first = tar(
        [Entry("one", DIRECTORY), Entry("two", DIRECTORY), Entry("way", SYMLINK, "one"), Entry("way/x", FILE)]
    )
    second = tar([Entry("way", SYMLINK, "two"), Entry("way/x", FILE)])
    assert paths(merged([first, second])) == ["one", "one/x", "two", "two/x", "way"]


def test_hard_links_are_one_file_under_several_names_also_of_lower_layers() -> None:
    tree = merged([tar([Entry("a", FILE, "content")]), tar([Entry("d/b", HARDLINK, "a")])])
    one, other = tree.lookup(0, b"a"), tree.lookup(tree.lookup(0, b"d") or 0, b"b")
    assert one is not None
    assert other is not None
    assert tree.inode(one) == tree.inode(other)
    assert tree.links[tree.inode(one)] == 2


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Entry("x", HARDLINK, "nowhere"), "no file here"),
        (Entry("x", HARDLINK, "folder"), "no file here"),
        (Entry("x", HARDLINK, "../outside"), "no file here"),
        (Entry("file", HARDLINK, "file"), "to itself"),
        (Entry("folder", HARDLINK, "folder/inner"), "its target is in"),
        (Entry("x", SYMLINK, ""), "a path of 0 bytes"),
        (Entry("x", SYMLINK, "y" * 5000), "a path of 5000 bytes"),
        (Entry("file/x", FILE), "no directory"),
        (Entry("loop/x", FILE), "too many symbolic links"),
        (Entry("n" * 256, FILE), "more than 255 bytes"),
        (Entry("d/" * 2050, FILE), "a path of"),
        (Entry(".", FILE), "the root is a directory"),
        (Entry("x", b"Z"), "unknown type"),
    ],
)
def test_what_no_file_system_could_have_made_is_left_out_and_named(entry: Entry, reason: str) -> None:
    there = [Entry("file", FILE), Entry("folder/inner", FILE), Entry("loop", SYMLINK, "loop")]
    found, problems = left_out(*there, entry)
    assert found == ["file", "folder", "folder/inner", "loop"]
    (problem,) = problems
    assert reason in problem
    assert entry.name[:100] in problem


def test_paths_as_long_as_linux_has_them_are_kept() -> None:
    name = "/".join(["d" * 255] * 15 + ["e" * 250])
    found, problems = left_out(Entry(name, FILE))
    assert found[-1] == name
    assert problems == []


def test_a_link_to_a_path_with_a_nul_is_left_out() -> None:
    problems: list[str] = []
    merger = Merger(problems.append)
    merger.apply([Member(0, 0, 512, 0, 0, b"2", b"x", b"a\0b", 0o644, 0, 0, b"", b"", 0, 0, 0)])
    assert paths(merger.tree()) == []
    assert "a path with a NUL" in problems[0]


def test_links_make_no_paths_longer_than_linux_has_them() -> None:
    long = "/".join(["d" * 250] * 10)
    found, problems = left_out(
        Entry(long, DIRECTORY),
        Entry("way", SYMLINK, long),
        Entry(f"way/{long}/x", FILE),
        Entry("way/y", FILE),
    )
    assert max(map(len, found)) <= 4096
    assert f"{long}/y" in found
    (problem,) = problems
    assert "through symbolic links" in problem


def test_very_many_deep_directories_take_no_longer_than_as_many_flat_ones() -> None:
    """Three thousand bytes of a name can make a thousand directories, each with a path of its own."""
    deep = [Entry(f"{number}/" + "d/" * 1500 + "x", FILE) for number in range(100)]
    flat = [Entry(f"{number}/x", FILE) for number in range(150_000)]
    assert _seconds(deep) < 5 * _seconds(flat)


@pytest.mark.parametrize("marker", ["d/.wh..wh..opq", ".wh.d", ".wh..wh..opq"])
def test_very_many_whiteouts_of_one_directory_take_no_longer_than_as_many_files(marker: str) -> None:
    files, more = ([Entry(f"d/{name}{number}", FILE) for number in range(4000)] for name in ("", "more"))
    marked = files + [Entry(marker, FILE)] * len(more)
    fastest = min(_seconds(marked) for _ in range(3))  # others may make garbage that is collected meanwhile
    assert fastest < 5 * _seconds(files + more)


def _seconds(entries: list[Entry]) -> float:
    members = list(scan_blob(MemoryBlob(tar(entries))))
    before = time.process_time()
    merger = Merger(pytest.fail)
    merger.apply(members)
    merger.tree()
    return time.process_time() - before


def test_more_entries_than_anybody_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.tar.merge.MAX_ENTRIES", 100)
    with pytest.raises(InvalidImage, match="more than 100 entries"):
        merged([tar([Entry("/".join("d" * 120), FILE)])])


def test_links_that_lead_through_more_than_anybody_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.tar.merge._MAX_STEPS", 1000)
    entries = [Entry("a", SYMLINK, "b/.." * 200 + "/c"), Entry("b", DIRECTORY)]
    with pytest.raises(InvalidImage, match="symbolic links"):
        merged([tar([*entries, *(Entry(f"a/{n}/x", FILE) for n in range(10))])])


def test_values_that_no_column_holds_become_what_engines_make_of_them() -> None:
    member = Member(0, 0, 512, 0, 0, b"3", b"x", b"", 0o644, -1, 1 << 40, b"", b"", 1 << 90, -1, 1 << 60)
    merger = Merger(pytest.fail)
    merger.apply([member])
    tree = merger.tree()
    assert (tree.uids[1], tree.gids[1], tree.mtimes[1]) == (0, 0, 0)
    assert tree.devices[1] == (0xFFF, 0)
