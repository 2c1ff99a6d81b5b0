"""Each config of a store of ours is read once, and what did not change is not read again."""

from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.blob import FileBlob, Root
from imgfs.own.loading import load_image, load_images, parents_first
from imgfs.own.writer import Writer
from imgfs.sources import open_source
from imgfs.sources.own.layout import Layout
from imgfs.sources.union import Union
from tests.conftest import eventually
from tests.images import TestImage, docker_archive, layer_tar
from tests.indexing import indexing, no_progress

COUNT = 30


def _images(count: int) -> list[TestImage]:
    shared = layer_tar({"shared": b"shared"})
    return [TestImage([shared, layer_tar({"own": b"%d" % n})], [f"many/{n}:1"]) for n in range(count)]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each config was opened, by its path."""
    counted = Counter[str]()
    open_file = Root.open

    def count(self: Root, name: str) -> FileBlob:
        path = self.path_of(name)
        if "/imagedb/content/" in path:
            counted[path] += 1
        return open_file(self, name)

    monkeypatch.setattr(Root, "open", count)
    return counted


def test_committing_reads_no_config_of_another_image(tmp_path: Path, reads: Counter[str]) -> None:
    archive = docker_archive(tmp_path / "many.tar", _images(COUNT))
    with indexing(tmp_path) as indexer, Writer(Layout(str(tmp_path / "store")), indexer) as writer:
        with closing(open_source(str(archive), indexer)) as source:
            for image_id in parents_first(source):
                load_image(source, image_id, writer, no_progress)
            assert reads.total() == 0


def test_looking_reads_each_config_once_and_following_only_what_is_new(
    tmp_path: Path, reads: Counter[str]
) -> None:
    store, images = Layout(str(tmp_path / "store")), _images(COUNT + 1)
    old, new = (
        docker_archive(tmp_path / f"{len(some)}.tar", some) for some in (images[:COUNT], images[COUNT:])
    )
    with indexing(tmp_path) as indexer:

        def load(archive: Path) -> None:
            with Writer(store, indexer) as writer, closing(open_source(str(archive), indexer)) as source:
                assert all(loaded.error is None for loaded in load_images(source, writer, no_progress))

        load(old)
        reads.clear()
        with closing(Union([open_source(f"imgfs:{store.root}", indexer)])) as union:
            assert (len(union.snapshot.images), reads.total(), len(reads)) == (COUNT, COUNT, COUNT)
            assert eventually(lambda: not union.refresh())
            load(new)
            reads.clear()
            assert union.refresh()
            assert len(union.snapshot.images) == COUNT + 1
            assert list(reads.values()) == [1]
