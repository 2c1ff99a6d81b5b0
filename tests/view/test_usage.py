"""What df shows of images."""

import json
from pathlib import Path
from threading import Event, Thread

import pytest

from imgfs.rootfs import TreeCache
from imgfs.sources import open_source
from imgfs.sources.union import Union
from imgfs.view.image_origin import ImageOrigin
from imgfs.view.trees import Trees
from imgfs.view.usage import Usage
from tests.images import TestImage, oci_layout
from tests.indexing import indexing


def _held(images: list[TestImage]) -> int:
    return sum(len(layer) for layer in {layer for image in images for layer in image.layers})


def test_layers_count_once_and_files_once_they_are_known(tmp_path: Path, images: list[TestImage]) -> None:
    layout = oci_layout(tmp_path / "layout", images, "none")
    trees = Trees(TreeCache(None))
    with indexing(tmp_path) as indexer:
        union = Union([open_source(str(layout), indexer)])
        usage = Usage(union, trees)
        assert (usage.size, usage.files, usage.is_current) == (0, 3, False)
        usage.look()
        assert (usage.size, usage.files, usage.is_current) == (_held(images), 3, True)
        table = trees.table("/a", ImageOrigin(images[0].id, union))
        table.load()
        assert usage.files == 3 + len(table.root().tree)
        trees.close()
        assert usage.files == 3
        union.close()


def test_it_is_current_until_images_change(tmp_path: Path, images: list[TestImage]) -> None:
    index = oci_layout(tmp_path / "layout", images, "none") / "index.json"
    document = json.loads(index.read_text())
    index.write_text(json.dumps(document | {"manifests": document["manifests"][:1]}))
    with indexing(tmp_path) as indexer:
        union = Union([open_source(str(index.parent), indexer)])
        usage = Usage(union, Trees(TreeCache(None)))
        usage.look()
        assert usage.size == _held(images[:1])
        index.write_text(json.dumps(document))
        union.refresh()
        assert not usage.is_current
        usage.look()
        assert (usage.size, usage.is_current) == (_held(images), True)
        union.close()


def test_layers_whose_size_is_unknown_are_looked_at_again(tmp_path: Path, images: list[TestImage]) -> None:
    layout = oci_layout(tmp_path / "layout", images[:1])
    with indexing(tmp_path) as indexer:
        union = Union([open_source(str(layout), indexer)])
        usage = Usage(union, Trees(TreeCache(None)))
        usage.look()
        assert (usage.size, usage.is_current) == (0, False)
        with union.sources[0].store.layers(images[0].id).open_one(0) as tar:
            assert tar.size
        usage.look()
        assert usage.size == len(images[0].layers[0])
        union.close()


def test_who_looks_while_another_does_waits_for_nothing(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = Event(), Event()
    with indexing(tmp_path) as indexer:
        union = Union([open_source(str(archive), indexer)])
        usage = Usage(union, Trees(TreeCache(None)))

        def hang(*_: object) -> None:
            began.set()
            go_on.wait()

        monkeypatch.setattr("imgfs.store.layer_stack.LayerStack.listed_size_of", hang)
        thread = Thread(target=usage.look)
        thread.start()
        began.wait()
        usage.look()
        assert (usage.size, usage.is_current) == (0, False)
        go_on.set()
        thread.join()
        union.close()
