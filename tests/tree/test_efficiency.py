"""Efficiency, compared with dive's own way to compute it."""

import posixpath
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfs.tree import Efficiency, Repeated, efficiency_of
from tests.tree.stacks import Entry, layer_tree, tar

FILE, DIRECTORY, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE


def found(*layers: list[Entry]) -> Efficiency:
    return efficiency_of([layer_tree(tar(layer)) for layer in layers])


def test_the_example_of_dive() -> None:
    """TestEfficiency of dive/filetree/efficiency_test.go, whose directory has no member of its own."""
    assert found(
        [Entry("etc/nginx/nginx.conf", FILE, "1" * 2000), Entry("etc/nginx/public", FILE, "2" * 3000)],
        [Entry("etc/nginx/nginx.conf", FILE, "3" * 5000), Entry("etc/athing", FILE, "4" * 10000)],
        [Entry("etc/.wh.nginx", FILE)],
    ) == Efficiency(0.75, 20000, 7000, 7000 / 15000, [Repeated(7000, 2, b"etc/nginx/nginx.conf")])


def test_a_directory_that_is_removed_counts_with_all_that_is_in_it() -> None:
    below = [Entry("d", DIRECTORY), Entry("d/a", FILE, "1" * 10), Entry("d/b", FILE, "2" * 20)]
    again = [Entry("d", DIRECTORY), Entry("d/b", FILE, "3" * 5), Entry("d/.wh.a", FILE)]
    removed = found(below, [Entry(".wh.d", FILE)])
    assert (removed.score, removed.wasted) == (1.0, 0), "as it is the only one of its path"
    assert found(below, again, [Entry(".wh.d", FILE)]).score == (0 + 5 + 5) / (10 + 25 + 5)


def test_an_image_without_content_is_efficient() -> None:
    assert found() == found([Entry("a", FILE)]) == Efficiency(1.0, 0, 0, 0.0, [])


def test_all_is_wasted_where_only_the_lowest_layer_has_content() -> None:
    assert found([Entry("a", FILE, "1")], [Entry(".wh.a", FILE)]).wasted_share == float("inf")


def test_of_several_names_that_of_the_content_counts() -> None:
    names = [Entry("b", FILE, "1234"), Entry("a", HARDLINK, "b")]
    assert found(names, [Entry(".wh.a", FILE)]).wasted == 0
    assert found(names, [Entry(".wh.b", FILE)]).wasted == 4


@dataclass
class Node:
    """A node of dive's trees."""

    size: int = 0
    is_directory: bool = False
    children: dict[str, "Node"] = field(default_factory=dict)

    def at(self, path: str) -> "Node | None":
        node: Node | None = self
        for name in path.split("/"):
            node = None if node is None else node.children.get(name)
        return node

    def add(self, path: str, size: int, *, is_directory: bool) -> None:
        node = self
        for name in path.split("/"):
            if name.startswith(".wh..wh."):
                return
            node = node.children.setdefault(name, Node())
        node.size, node.is_directory = size, is_directory

    def nodes(self, path: str = "") -> "list[tuple[str, Node]]":
        """All below, what is in a directory before it, as dive visits them."""
        found = []
        for name, child in sorted(self.children.items()):
            found += child.nodes(f"{path}{name}/")
            found.append((path + name, child))
        return found

    @property
    def total(self) -> int:
        return self.size + sum(child.total for child in self.children.values())


def _without_prefix(path: str) -> str:
    before, name = posixpath.split(path)
    return posixpath.join(before, name.removeprefix(".wh."))


def _is_whiteout(path: str) -> bool:
    return posixpath.basename(path).startswith(".wh.")


def dive(layers: Sequence[Sequence[Entry]]) -> tuple[float, int]:
    """Score and wasted bytes as efficiency.go computes them, but for whiteouts of what is not there."""
    trees = []
    for layer in layers:
        tree = Node()
        for entry in layer:
            size = len(entry.content.encode()) if entry.type == FILE else 0
            tree.add(posixpath.normpath(entry.name), size, is_directory=entry.type == DIRECTORY)
        trees.append(tree)
    paths: dict[str, list[int]] = {}
    for number, tree in enumerate(trees):
        stacked = Node()
        for lower in trees[:number]:
            for path, node in lower.nodes():
                if not _is_whiteout(path):
                    stacked.add(path, node.size, is_directory=node.is_directory)
                    continue
                before, name = posixpath.split(_without_prefix(path))
                parent = stacked.at(before) if before else stacked
                if parent is not None:
                    parent.children.pop(name, None)
        for path, node in tree.nodes():
            if node.children:
                continue
            size = node.size
            if _is_whiteout(path):
                removed = stacked.at(_without_prefix(path))
                size = removed.total if removed is not None and removed.is_directory else 0
            paths.setdefault(_without_prefix(path), []).append(size)
    total = sum(map(sum, paths.values()))
    wasted = sum(sum(sizes) for sizes in paths.values() if len(sizes) > 1)
    return (sum(map(min, paths.values())) / total if total else 1.0), wasted


_NAMES = ["a", "b", "p", ".wh.a", ".wh.b", ".wh.p"]
_PATHS = [
    f"{folder}{name}" for folder in ("", "p/", "p/q/") for name in [*_NAMES, "q", ".wh.q", ".wh..wh..opq"]
]


def _layer(members: dict[str, int]) -> list[Entry]:
    """A layer with files and whiteouts at some paths, of so many bytes; of -1, directories."""
    files = {path for path, size in members.items() if size >= 0}
    return [
        Entry(path, DIRECTORY) if size < 0 else Entry(path, FILE, "" if ".wh." in path else "x" * size)
        for path, size in sorted(members.items())
        if not any(path.startswith(f"{file}/") for file in files)
    ]


@given(st.lists(st.dictionaries(st.sampled_from(_PATHS), st.integers(-1, 9)).map(_layer), max_size=5))
def test_any_image_has_the_numbers_of_dive(stack: list[list[Entry]]) -> None:
    score, wasted = dive(stack)
    efficiency = found(*stack)
    assert efficiency.score == pytest.approx(score)
    assert efficiency.wasted == wasted
    assert sum(each.size for each in efficiency.repeated) == wasted
