"""Trees in memory, for as long as there is room."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from imgfs.rootfs import RootFS, TreeCache
from imgfs.sources import open_source
from imgfs.sources.union import Union
from imgfs.view.image_origin import ImageOrigin
from imgfs.view.tars import TreeImageFile
from imgfs.view.trees import Trees
from tests.images import TestImage
from tests.indexing import indexing


@pytest.fixture
def origins(tmp_path: Path, archive: Path, images: list[TestImage]) -> Iterator[list[ImageOrigin]]:
    with indexing(tmp_path) as indexer:
        union = Union([open_source(str(archive), indexer)])
        yield [ImageOrigin(image.id, union) for image in images]
        union.close()


def test_a_tree_is_made_when_it_is_loaded_and_until_then_something_stands_for_its_top(
    origins: list[ImageOrigin],
) -> None:
    trees = Trees(TreeCache(None))
    table = trees.table("/a", origins[0], 7)
    assert trees.table("/a", origins[0]) is table
    stands = table.top()
    assert (stands.table, stands.number, stands.mtime_ns, stands.mutable) == (table, 0, 7, True)
    assert (list(stands.entries()), stands.lookup(b"bin"), table.node(0)) == ([], None, None)
    assert not table.lacks_xattrs(0), "it is not known yet"
    table.load()
    assert [name for name, _ in table.top().entries()] == [b"bin", b"empty", b"etc"]
    assert table.root() is table.root()
    assert table.lacks_xattrs(0)
    table.root().tree.xattrs[1] = {b"user.note": b"note"}
    assert not table.lacks_xattrs(1)
    trees.close()
    assert table.node(0) is None


def test_a_layer_alone_is_another_tree(origins: list[ImageOrigin]) -> None:
    trees = Trees(TreeCache(None))
    table = trees.table("/a", origins[0], only=1)
    table.load()
    assert [name for name, _ in table.top().entries()] == [b"etc"]
    with table.root().open("/etc/passwd") as file:
        assert file.read(6) == b"root:x"
    trees.close()


def test_trees_used_least_recently_are_unloaded_for_others_but_never_the_last(
    origins: list[ImageOrigin],
) -> None:
    trees = Trees(TreeCache(None), limit=8)
    first, second = (trees.table(f"/{only}", origins[0], only=only) for only in (0, 1))
    large = trees.table("/large", origins[2])
    first.load()
    second.load()
    assert first.node(0) is not None, "it is used"
    third = trees.table("/d", origins[0], only=0)
    third.load()
    assert [table.node(0) is not None for table in (first, second, third)] == [True, False, True]
    large.load()
    assert [table.node(0) is not None for table in (first, third, large)] == [False, False, True]
    trees.close()


def test_a_file_that_is_open_stays_readable_when_its_tree_is_unloaded(origins: list[ImageOrigin]) -> None:
    trees = Trees(TreeCache(None))
    table = trees.table("/a", origins[0])
    file = table.root().open("/etc/passwd")
    trees.close()
    assert file.read(6) == b"root:x"
    file.close()


def test_the_size_of_the_flat_tar_is_remembered(origins: list[ImageOrigin]) -> None:
    trees = Trees(TreeCache(None))
    table = trees.table("/a", origins[0])
    file = TreeImageFile("/a.tar", table, RootFS.flat_tar, 0)
    assert file.known_size is None
    with file.open() as blob:
        assert file.known_size == blob.size
    trees.close()
    assert TreeImageFile("/a.tar", table, RootFS.flat_tar, 0).known_size is not None
