"""What each layer did to a path."""

import tarfile

import pytest

from imgfs.tree import Tree, origins
from tests.tree.stacks import Entry, layer_tree, tar

FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
A = [Entry("a", FILE, "a")]
IN_D = [Entry("d", DIRECTORY), Entry("d/x", FILE)]


def trees(*layers: list[Entry]) -> list[Tree]:
    return [layer_tree(tar(layer)) for layer in layers]


@pytest.mark.parametrize(
    ("path", "layers", "expected"),
    [
        (b"a", [A, [], A, []], [(0, "added"), (2, "replaced")]),
        (b"/d/../a", [A], [(0, "added")]),
        (
            b"a",
            [A, [Entry(".wh.a", FILE)], A],
            [(0, "added"), (1, "removed by the whiteout .wh.a"), (2, "added")],
        ),
        (
            b"a",
            [A, [Entry("a", tarfile.CHRTYPE, device=(0, 0))]],
            [(0, "added"), (1, "removed by the whiteout a, a character device 0/0")],
        ),
        (b"d/x", [IN_D, [Entry(".wh.d", FILE)]], [(0, "added"), (1, "removed by the whiteout .wh.d")]),
        (
            b"d/x",
            [IN_D, [Entry("d", DIRECTORY), Entry("d/.wh..wh..opq", FILE)]],
            [(0, "added"), (1, "removed by the opaque directory d")],
        ),
        (
            b"d/x",
            [IN_D, [Entry("d", FILE)]],
            [(0, "added"), (1, "removed by what took the place of a directory or link above it")],
        ),
        (b"d", [IN_D, IN_D], [(0, "added"), (1, "listed again")]),
        (b"d", [[Entry("d/x", FILE)]], [(0, "made for what is in it")]),
        (
            b"a",
            [A, [Entry("a/b", FILE)]],
            [(0, "added"), (1, "replaced by a directory, made for what is in it")],
        ),
        (b"b", [A, [Entry("b", HARDLINK, "a")]], [(1, "hard link to a file of a lower layer")]),
        (
            b"link/x",
            [[*IN_D, Entry("link", SYMLINK, "d")], [Entry("d/x", FILE, "new")]],
            [(0, "added"), (1, "replaced")],
        ),
        (b"none", [A, IN_D], []),
        (b"a\0b", [A], []),
    ],
)
def test_a_path_has_an_event_for_each_layer_that_changed_it(
    path: bytes, layers: list[list[Entry]], expected: list[tuple[int, str]]
) -> None:
    events = origins(path, trees(*layers))
    assert [(event.layer, event.what) for event in events] == expected
    assert [event.gone for event in events] == [event.what.startswith("removed") for event in events]


def test_an_event_has_the_entry_that_is_seen_from_there_on() -> None:
    added, linked, gone = origins(
        b"b", trees([Entry("b", FILE, "old"), *A], [Entry("b", HARDLINK, "a")], [Entry(".wh.b", FILE)])
    )
    assert added.entry is not None
    assert (added.tree.name(added.entry), added.tree.sizes[added.entry]) == (b"b", 3)
    assert linked.entry is not None
    assert (linked.tree.name(linked.entry), linked.tree.sizes[linked.entry]) == (b"a", 1)
    assert gone.entry is None
