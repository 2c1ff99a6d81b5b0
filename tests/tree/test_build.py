"""The tree that one layer makes, and what of it is skipped."""

import tarfile
import time
import tracemalloc

import pytest

from imgfs.blob import MemoryBlob
from imgfs.errors import InvalidImage
from imgfs.tar import Member, scan_blob
from imgfs.tree import NO_LAYER, AssembledBlob, FlatPlan, Tree, TreeBuilder, build_tree
from tests.tar.archives import extended, header
from tests.tree.stacks import Entry, layer_tree, tar, tree_facts

FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def paths(tree: Tree) -> list[str]:
    return [tree.path(entry).decode() for entry in tree.walk()]


def skipped(*entries: Entry) -> tuple[list[str], list[str]]:
    """The paths that some entries make, and what is said to be skipped."""
    problems: list[str] = []
    builder = TreeBuilder(problems.append)
    builder.add(scan_blob(MemoryBlob(tar(entries))))
    return paths(builder.tree()), problems


def facts(*entries: Entry) -> dict[str, tuple[object, ...]]:
    """By path: permissions, owner, mtime in seconds, xattrs and the first name of the file."""
    layer = tar(entries)
    found = tree_facts(layer_tree(layer), [layer])
    return {
        path.decode(): (of[0] & 0o7777, of[1], (of[4] or 0) // 10**9, of[6], of[7].decode())
        for path, of in found.items()
    }


def test_whiteouts_are_files_like_any_other() -> None:
    tree = layer_tree(tar([Entry("a/.wh.b", FILE), Entry("a/.wh..wh..opq", FILE)]))
    assert paths(tree) == ["a", "a/.wh..wh..opq", "a/.wh.b"]


def test_directories_that_have_no_member_are_made_as_engines_do() -> None:
    tree = layer_tree(tar([Entry("a/b/c", FILE, owner=7, mtime=5)]))
    assert paths(tree) == ["a", "a/b", "a/b/c"]
    assert [tree.modes[entry] & 0o7777 for entry in (1, 2)] == [0o755, 0o755]
    assert (list(tree.uids[1:3]), list(tree.mtimes[1:3])) == ([0, 0], [5_000_000_000] * 2)
    assert list(tree.layers[:4]) == [NO_LAYER] * 3 + [0]


@pytest.mark.parametrize(
    "entry",
    [
        Entry("a/b/c", b"Z"),
        Entry("a/b/c", SYMLINK, ""),
        Entry("a/b/c", HARDLINK, "a/b"),
        Entry("a/b/c/.", FILE),
    ],
)
def test_members_that_are_skipped_make_the_directories_they_are_in(entry: Entry) -> None:
    found, problems = skipped(entry)
    assert found[:2] == ["a", "a/b"]
    assert len(problems) == (entry.type != FILE)


def test_a_directory_on_a_directory_keeps_what_is_in_it_and_changes_what_it_is() -> None:
    found = facts(Entry("a", DIRECTORY, mode=0o700), Entry("a/b", FILE), Entry("a", DIRECTORY, mode=0o755))
    assert list(found) == ["a", "a/b"]
    assert found["a"][0] == 0o755


def test_of_two_members_of_one_path_the_last_counts() -> None:
    assert skipped(Entry("a/b", FILE), Entry("a", FILE)) == (["a"], [])
    assert skipped(Entry("a", FILE), Entry("a", DIRECTORY), Entry("a/b", FILE)) == (["a", "a/b"], [])
    assert facts(Entry("a", FILE, mode=0o600), Entry("a", FILE, mode=0o644))["a"][0] == 0o644


def test_symbolic_links_on_the_way_are_followed_inside_the_layer() -> None:
    found, problems = skipped(
        Entry("real/x", FILE), Entry("way", SYMLINK, "/../../real"), Entry("way/y", FILE)
    )
    assert found == ["real", "real/x", "real/y", "way"]
    assert problems == []


def test_a_link_that_changes_direction_leads_elsewhere_from_then_on() -> None:
    one = [Entry("one/in", DIRECTORY), Entry("two", DIRECTORY), Entry("way", SYMLINK, "one")]
    other = [Entry("way/in/x", FILE), Entry("way", SYMLINK, "two"), Entry("way/in/x", FILE)]
    assert skipped(*one, *other)[0] == ["one", "one/in", "one/in/x", "two", "two/in", "two/in/x", "way"]


def test_hard_links_are_one_file_under_several_names() -> None:
    tree = layer_tree(tar([Entry("a", FILE, "content"), Entry("d/b", HARDLINK, "./d/../a")]))
    one, other = tree.lookup(0, b"a"), tree.lookup(tree.lookup(0, b"d") or 0, b"b")
    assert one is not None
    assert other is not None
    assert tree.inode(one) == tree.inode(other)
    assert tree.links[tree.inode(one)] == 2


def test_what_the_last_hard_link_says_counts_for_its_file() -> None:
    links = [
        Entry("b", HARDLINK, "a", mode=0o4755, owner=2, mtime=9),
        Entry("c", HARDLINK, "b", mode=0o4711, owner=3, mtime=8),
    ]
    found = facts(Entry("a", FILE, "x", mode=0o600, owner=1, xattr="value"), *links)
    assert list(found.values()) == [(0o4711, 3, 8, {b"trusted.test": b"value"}, "a")] * 3


def test_a_hard_link_adds_its_attributes_to_its_file() -> None:
    tree = build_tree(
        scan_blob(
            MemoryBlob(
                extended(b"x", {b"SCHILY.xattr.user.a": b"1", b"SCHILY.xattr.user.b": b"1"})
                + header(b"a")
                + extended(b"x", {b"SCHILY.xattr.user.b": b"2"})
                + header(b"b", kind=b"1", linkname=b"a")
            )
        ),
        "layer",
    )
    assert tree.xattrs[1] == {b"user.a": b"1", b"user.b": b"2"}


def test_a_hard_link_to_a_symbolic_link_changes_its_owner_alone() -> None:
    found = facts(Entry("s", SYMLINK, "t", owner=1, mtime=5), Entry("b", HARDLINK, "s", owner=2, mtime=9))
    assert found["s"] == (0o777, 2, 5, {}, "b")


def test_a_hard_link_adds_to_a_symbolic_link_what_such_can_have() -> None:
    says = {b"SCHILY.xattr.trusted.a": b"v", b"SCHILY.xattr.user.b": b"v"}
    link = extended(b"x", says) + header(b"l", kind=b"1", linkname=b"s")
    tree = layer_tree(header(b"s", kind=b"2", linkname=b"t") + link + bytes(1024))
    assert tree.xattrs[tree.inode(1)] == {b"trusted.a": b"v"}


@pytest.mark.parametrize(("of_link", "kept"), [({}, {}), ({b"security.capability": b"2"},) * 2])
def test_a_hard_link_without_capabilities_takes_those_of_its_file_away(
    of_link: dict[bytes, bytes], kept: dict[bytes, bytes]
) -> None:
    """The kernel does, as engines give a file the owner of every link to it."""
    had = {b"SCHILY.xattr.security.capability": b"1", b"SCHILY.xattr.user.a": b"1"}
    says = {b"SCHILY.xattr." + name: value for name, value in of_link.items()} | {b"comment": b"none"}
    link = extended(b"x", says) + header(b"l", kind=b"1", linkname=b"f")
    tree = layer_tree(extended(b"x", had) + header(b"f") + link + bytes(1024))
    assert tree.xattrs[tree.inode(1)] == {b"user.a": b"1"} | kept


def test_a_hard_link_to_what_only_a_lower_layer_can_have_is_shown_where_it_leads() -> None:
    tree = layer_tree(
        tar([Entry("d/b", HARDLINK, "/x/a"), Entry("d/e/c", HARDLINK, "d/b"), Entry("z", FILE)])
    )
    assert paths(tree) == ["d", "d/b", "d/e", "d/e/c", "z"]
    (entry,) = tree.lower_links
    assert (tree.path(entry), tree.lower_links[entry], tree.target(entry)) == (b"d/b", b"x/a", b"../x/a")
    assert tree.sizes[entry] == 6
    assert tree.links[entry] == 2


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Entry("x", HARDLINK, "."), "no file here"),
        (Entry("x", HARDLINK, "folder"), "no file here"),
        (Entry("new", HARDLINK, "../new"), "to itself"),
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
def test_what_no_file_system_could_have_made_is_skipped_and_named(entry: Entry, reason: str) -> None:
    there = [Entry("file", FILE), Entry("folder/inner", FILE), Entry("loop", SYMLINK, "loop")]
    found, problems = skipped(*there, entry)
    assert found == ["file", "folder", "folder/inner", "loop"]
    (problem,) = problems
    assert reason in problem
    assert entry.name[:100] in problem


def test_paths_as_long_as_linux_has_them_are_kept() -> None:
    name = "/".join(["d" * 255] * 15 + ["e" * 250])
    found, problems = skipped(Entry(name, FILE))
    assert found[-1] == name
    assert problems == []


def test_a_link_to_a_path_with_a_nul_is_skipped() -> None:
    problems: list[str] = []
    builder = TreeBuilder(problems.append)
    builder.add([Member(0, 0, 512, 0, 0, b"2", b"x", b"a\0b", 0o644, 0, 0, b"", b"", 0, 0, 0)])
    assert paths(builder.tree()) == []
    assert "a path with a NUL" in problems[0]


def test_links_make_no_paths_longer_than_linux_has_them() -> None:
    long = "/".join(["d" * 250] * 10)
    found, problems = skipped(
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
    deep = [Entry(f"{number}/" + "d/" * 1500 + "x", FILE) for number in range(30)]
    flat = [Entry(f"{number}/x", FILE) for number in range(45_000)]
    assert min(_seconds(deep) for _ in range(3)) < 6 * _seconds(flat)


def test_deep_paths_that_share_their_beginning_take_no_longer_than_their_bytes_do() -> None:
    """Each is a directory of its own below two thousand others, which are not walked again."""
    base = "d/" * 1900
    deep = [Entry(f"{base}{number}/f", FILE) for number in range(5000)]
    flat = [Entry(f"{number}/f", FILE) for number in range(5000)]
    assert min(_seconds(deep) for _ in range(3)) < 6 * _seconds(flat)


def test_a_directory_that_is_listed_twice_has_the_attributes_of_both() -> None:
    entries = [Entry("d", DIRECTORY, mode=0o700, xattr="a"), Entry("d", DIRECTORY, mode=0o711, xattr="b")]
    tree = layer_tree(tar(entries))
    once = [layer_tree(tar([entry])).xattrs[1] for entry in entries]
    assert tree.xattrs[1] == once[0] | once[1]
    assert tree.modes[1] & 0o7777 == 0o711
    flat = list(scan_blob(AssembledBlob(FlatPlan(tree), lambda number: MemoryBlob(tar(entries)))))
    assert [member.xattrs for member in flat] == [tree.xattrs[1]]


def test_deep_paths_by_turns_take_no_longer_than_their_bytes_do() -> None:
    """None is a directory's that another member was in, and none begins as the one before does."""
    bases = ["a/" + "d/" * 1900, "b/" + "d/" * 1900]
    deep = [Entry(f"{bases[number % 2]}{number}/f", FILE) for number in range(5000)]
    flat = [Entry(f"{number}/f", FILE) for number in range(5000)]
    assert min(_seconds(deep) for _ in range(3)) < 10 * _seconds(flat)


def test_hard_links_to_deep_files_take_no_longer_than_their_bytes_do() -> None:
    base = "d/" * 1900
    deep = [Entry(f"{base}t", FILE), *(Entry(f"{base}{n}", HARDLINK, f"no/{base}{n}") for n in range(5000))]
    flat = [Entry(f"{number}/f", FILE) for number in range(5000)]
    assert min(_seconds(deep) for _ in range(3)) < 20 * _seconds(flat)


def test_paths_without_symbolic_links_that_are_never_remembered_for_long_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each symbolic link that is replaced may change where a path leads."""
    monkeypatch.setattr("imgfs.tree.build._MAX_STEPS", 5000)
    entries = [
        entry for n in range(100) for entry in (Entry("d/" * 100 + f"{n}/f", FILE), Entry("s", SYMLINK, "x"))
    ]
    with pytest.raises(InvalidImage, match="more than 5000 directories on the ways"):
        layer_tree(tar(entries))


def test_more_directories_without_members_than_real_layers_have_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("imgfs.tree.build.MAX_IMPLIED", 100)
    assert len(layer_tree(tar([Entry("d/" * 100 + "x", FILE)]))) == 102
    with pytest.raises(InvalidImage, match="more than 100 directories that it has no members for"):
        layer_tree(tar([Entry("d/" * 101 + "x", FILE)]))


def test_very_many_long_names_are_not_kept() -> None:
    base = b"d/" * 1900
    tracemalloc.start()
    try:
        builder = TreeBuilder(pytest.fail)
        for number in range(3000):
            name = base + b"%d" % number
            builder.add([Member(0, 0, 512, 0, 0, b"0", name, b"", 0o644, 0, 0, b"", b"", 0, 0, 0)])
        assert tracemalloc.get_traced_memory()[0] < 3000 * 1000
    finally:
        tracemalloc.stop()


def _seconds(entries: list[Entry]) -> float:
    members = list(scan_blob(MemoryBlob(tar(entries))))
    before = time.process_time()
    builder = TreeBuilder(pytest.fail)
    builder.add(members)
    builder.tree()
    return time.process_time() - before


def test_more_entries_than_anybody_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.tree.build.MAX_ENTRIES", 100)
    with pytest.raises(InvalidImage, match="more than 100 entries"):
        layer_tree(tar([Entry("/".join("d" * 120), FILE)]))


def test_attributes_count_unless_members_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.tree.build.MAX_TEXT", 20_000)
    shared = {b"user.a": bytes(1000)}
    TreeBuilder(pytest.fail).add(_with_xattrs(number, shared) for number in range(50))
    with pytest.raises(InvalidImage, match="names and attributes"):
        TreeBuilder(pytest.fail).add(_with_xattrs(number, dict(shared)) for number in range(50))


def _with_xattrs(number: int, xattrs: dict[bytes, bytes]) -> Member:
    found = Member(0, 0, 512, 0, 0, b"0", b"%d" % number, b"", 0o644, 0, 0, b"", b"", 0, 0, 0)
    found.xattrs = xattrs
    return found


def test_links_that_lead_through_more_than_anybody_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.tree.build._MAX_STEPS", 1000)
    entries = [Entry("a", SYMLINK, "b/.." * 200 + "/c"), Entry("b", DIRECTORY)]
    with pytest.raises(InvalidImage, match="more than 1000 directories on the ways"):
        layer_tree(tar([*entries, *(Entry(f"a/{n}/x", FILE) for n in range(10))]))


def test_values_that_no_column_holds_become_what_engines_make_of_them() -> None:
    member = Member(0, 0, 512, 0, 0, b"3", b"x", b"", 0o644, -1, 1 << 40, b"", b"", 1 << 63, -1, 1 << 60)
    builder = TreeBuilder(pytest.fail)
    builder.add([member])
    tree = builder.tree()
    assert (tree.uids[1], tree.gids[1], tree.mtimes[1]) == (0, 0, 0)
    assert tree.devices[1] == (0xFFF, 0)
