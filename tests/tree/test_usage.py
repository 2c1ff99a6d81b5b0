"""What layers add and hide, against what is seen in the end."""

import stat
import tarfile

from hypothesis import given

from imgfs.tree import LayerUsage, layer_usage
from tests.tree.stacks import Entry, layer_tree, merged, stacks, tar

FILE, DIRECTORY, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE


def usage(*layers: list[Entry]) -> list[LayerUsage]:
    return layer_usage(layer_tree(tar(layer)) for layer in layers)


def test_files_are_added_replaced_and_removed() -> None:
    assert usage(
        [Entry("a", FILE, "1234"), Entry("d/b", FILE, "56"), Entry("d/c", FILE, "7")],
        [Entry("a", FILE, "xyz"), Entry("d/.wh.b", FILE), Entry("new", FILE, "n")],
        [Entry(".wh.d", FILE)],
    ) == [
        LayerUsage(added=3, size=7, hidden=3, hidden_size=7),
        LayerUsage(added=1, replaced=1, removed=1, size=4),
        LayerUsage(removed=1),
    ]


def test_a_directory_replaced_by_a_file_and_an_opaque_one_hide_what_was_in_them() -> None:
    below = [Entry("a/1", FILE, "1"), Entry("a/2", FILE, "22"), Entry("b/3", FILE, "333")]
    above = [
        Entry("a", FILE, "a"),
        Entry("b", DIRECTORY),
        Entry("b/.wh..wh..opq", FILE),
        Entry("b/4", FILE, "4444"),
    ]
    assert usage(below, above) == [
        LayerUsage(added=3, size=6, hidden=3, hidden_size=6),
        LayerUsage(added=2, removed=3, size=5),
    ]


def test_a_file_with_several_names_is_counted_once() -> None:
    below = [Entry("a", FILE, "1234"), Entry("b", HARDLINK, "a")]
    (first, _) = usage(below, [Entry(".wh.a", FILE), Entry(".wh.b", FILE)])
    assert first == LayerUsage(added=2, size=4, hidden=1, hidden_size=4)


@given(stacks())
def test_what_is_not_hidden_is_what_is_seen(stack: list[list[Entry]]) -> None:
    layers = [tar([entry for entry in layer if entry.type != HARDLINK]) for layer in stack]
    found, tree = layer_usage(map(layer_tree, layers)), merged(layers)
    entries = list(tree.walk())
    files = [entry for entry in entries if not tree.is_directory(entry)]
    assert sum(of.added - of.removed for of in found) == len(files)
    content = sum(tree.sizes[entry] for entry in files if stat.S_ISREG(tree.modes[entry]))
    assert sum(of.size - of.hidden_size for of in found) == content
