"""Layers that are the difference of two directories: the two trees together are the upper directory's."""

import os
import random
import stat
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.blob import Root
from imgfs.digest import ChainID, DiffID
from imgfs.layers import DirectoryLayer, DirectoryPlace
from imgfs.tree import Tree, overlay_trees
from tests.tree.stacks import real_facts, tree_facts

ID = DiffID.of(b"")


def layers(folder: Path) -> list[DirectoryLayer]:
    root = Root(folder)
    below, own = DirectoryPlace(root, "0"), DirectoryPlace(root, "1", below="0")
    return [
        DirectoryLayer(ChainID(ID), ID, None, lambda: below),
        DirectoryLayer(ChainID(ID), ID, ChainID(ID), lambda: own),
    ]


def paths(tree: Tree) -> list[str]:
    return [tree.path(entry).decode() for entry in tree.walk()]


def make(path: Path, kind: int, choose: random.Random) -> None:
    if kind == 0:
        path.mkdir(mode=choose.choice([0o700, 0o755]))
    elif kind == 1:
        path.symlink_to(choose.choice(["a", "b"]))
    else:
        path.write_text(choose.choice(["one", "two", ""]))
        path.chmod(choose.choice([0o600, 0o644]))
        if choose.random() < 0.3:
            os.link(path, path.with_name(path.name + "-link"))


def fill(top: Path, choose: random.Random) -> None:
    """Make a random tree of few names, so that two of them have much in common; times are all the same."""
    top.mkdir()
    for first in "abcd":
        if choose.random() < 0.8:
            make(top / first, choose.randrange(3), choose)
        for second in "ab":
            if (top / first).is_dir() and not (top / first).is_symlink() and choose.random() < 0.7:
                make(top / first / second, choose.randrange(3), choose)
    for path in [top, *top.rglob("*")]:
        os.utime(path, ns=(0, 1_000_000_001), follow_symlinks=False)


@pytest.mark.parametrize("seed", range(60))
def test_both_together_are_the_upper_directory(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    fill(tmp_path / "0", choose)
    fill(tmp_path / "1", choose)
    made = layers(tmp_path)
    trees = [layer.tree() for layer in made]
    contents = []
    for layer, tree in zip(made, trees, strict=True):
        with closing(layer.open_content(tree.copies[0])) as blob:
            contents.append(blob.pread(blob.size, 0))
    found = tree_facts(overlay_trees(trees, "image"), contents)

    def compared(
        facts: dict[bytes, tuple[int, int, int, int, int | None, object, dict[bytes, bytes], bytes]],
    ) -> object:
        return {path: (of if stat.S_ISREG(of[0]) else (*of[:3], *of[4:])) for path, of in facts.items()}

    assert compared(found) == compared(real_facts(tmp_path / "1"))


def test_only_what_differs_is_in_the_layer(tmp_path: Path) -> None:
    for number in "01":
        (tmp_path / number / "d/e").mkdir(parents=True)
        (tmp_path / number / "same").write_text("same")
        (tmp_path / number / "d/e/content").write_text(number)
        (tmp_path / number / "d/x").write_text("x")
    (tmp_path / "0/gone").mkdir()
    (tmp_path / "0/gone/too").write_text("")
    for path in tmp_path.rglob("*"):
        os.utime(path, ns=(0, 5))
    assert paths(layers(tmp_path)[1].tree()) == [".wh.gone", "d", "d/e", "d/e/content"]
