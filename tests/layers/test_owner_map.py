"""Owners as user namespaces show them."""

import os
import struct
from pathlib import Path

import pytest

from imgfs.blob import Root
from imgfs.digest import ChainID, DiffID
from imgfs.layers import DirectoryLayer, DirectoryPlace, IDRange, OwnerMap
from imgfs.tree import Tree
from tests.tools import require_root

ID = DiffID.of(b"")
ENGINE = OwnerMap(
    (IDRange(0, 4321, 1), IDRange(1, 200_000, 100)), (IDRange(0, 4322, 1), IDRange(1, 300_000, 100))
)
CONTAINER = OwnerMap((IDRange(0, 1, 1), IDRange(1, 0, 1)), (IDRange(0, 1, 10),))


def made_tree(folder: Path, *maps: OwnerMap) -> Tree:
    place = DirectoryPlace(Root(folder), "l", owners=maps)
    return DirectoryLayer(ChainID(ID), ID, None, lambda: place).tree()


def owners(folder: Path, *maps: OwnerMap) -> dict[bytes, tuple[int, int]]:
    tree = made_tree(folder, *maps)
    return {tree.path(entry): (tree.uids[entry], tree.gids[entry]) for entry in tree.walk()}


def capability(size: int, root: int = 0) -> bytes:
    """That a program may do all that `root` may, in either form."""
    words = [(3 if size == 24 else 2) << 24 | 1, 0x2000, 0, 0, 0, root]
    return struct.pack("<6I", *words)[:size]


def test_owners_are_those_of_the_innermost_namespace_and_others_are_unknown(tmp_path: Path) -> None:
    require_root()
    made = {b"user": (4321, 4322), b"nine": (200_008, 300_008), b"first": (200_000, 300_000), b"root": (0, 0)}
    (tmp_path / "l").mkdir()
    for name, ids in made.items():
        path = tmp_path / "l" / os.fsdecode(name)
        path.touch()
        os.chown(path, *ids)
    assert owners(tmp_path) == made
    expected = {b"user": (0, 0), b"nine": (9, 9), b"first": (1, 1), b"root": (65534, 65534)}
    assert owners(tmp_path, ENGINE) == expected
    inner = {b"user": (1, 65534), b"nine": (65534, 8), b"first": (0, 0), b"root": (65534, 65534)}
    assert owners(tmp_path, ENGINE, CONTAINER) == inner


@pytest.mark.parametrize("inside", [-1, 2**32 - 1, 2**63 - 1])
def test_numbers_that_no_owner_has_are_unknown_ones(tmp_path: Path, inside: int) -> None:
    (tmp_path / "l").mkdir()
    (tmp_path / "l/file").touch()
    ranges = (IDRange(inside, os.getuid(), 1),)
    assert owners(tmp_path, OwnerMap(ranges, ranges)) == {b"file": (65534, 65534)}


@pytest.mark.parametrize("root", [4321, 200_008])
def test_capabilities_of_the_root_of_a_namespace_are_as_the_kernel_shows_them_there(
    tmp_path: Path, root: int
) -> None:
    require_root()
    (tmp_path / "l").mkdir()
    path = tmp_path / "l/program"
    path.touch()
    os.setxattr(path, "security.capability", capability(24, root))
    tree = made_tree(tmp_path, ENGINE)
    expected = capability(20) if root == 4321 else capability(24, root)
    assert list(tree.xattrs.values()) == [{b"security.capability": expected}]
