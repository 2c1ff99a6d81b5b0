"""Our own store survives being killed, and several processes at once."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.layers import LayerRegistry
from imgfs.own.writer import Writer
from imgfs.sources import Source, open_source
from imgfs.sources.own.layout import Layout
from tests.conftest import Imgfs
from tests.images import TestImage, digest, docker_archive, layer_tar
from tests.indexing import indexing

KILLS = 24


def _run(store: Path, *arguments: str | Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "imgfs", *map(str, arguments), "--store", str(store)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _check_whole(store: Path, images: Sequence[TestImage]) -> set[str]:
    """Every image that is visible is complete; answers which are."""
    with indexing(store.parent) as indexer, closing(open_source(f"imgfs:{store}", indexer)) as source:
        return _check_source(source, images)


def _check_source(source: Source, images: Sequence[TestImage]) -> set[str]:
    expected = {image.id: image for image in images}
    for image_id in source.store.map():
        with source.store.get_tar_seek_stream(image_id) as stream:
            assert stream.read() == expected[image_id].verbatim
    for image_id in source.tags.values():
        assert image_id in source.store.map()
    return set(source.store.map())


def _check_no_garbage(store: Path) -> None:
    """Nothing lies in the store that no image refers to, once a writer has come by."""
    layout = Layout(str(store))
    with indexing(store.parent) as indexer, Writer(layout, indexer) as writer:
        writer.untag([])
    records = [json.loads(path.read_text()) for path in (store / "layers/sha256").iterdir()]
    assert set(os.listdir(store / "blobs/sha256")) == {record["blob"][7:] for record in records}
    assert os.listdir(store / "tmp") == []


def test_killing_a_load_at_any_instant_leaves_nothing_half_made(
    imgfs: Imgfs, tmp_path: Path, archive: Path, images: list[TestImage]
) -> None:
    started = time.monotonic()
    imgfs("load", archive, "--store", tmp_path / "whole")
    whole = time.monotonic() - started
    rng = random.Random(7)
    store = tmp_path / "store"
    Layout(str(store)).create()
    for attempt in range(KILLS):
        process = _run(store, "load", archive)
        time.sleep(whole * (0.3 + 0.7 * attempt / KILLS) + rng.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        visible = _check_whole(store, images)
        if len(visible) == len(images):
            imgfs("rm", "--force", *visible, "--store", store)
    _check_no_garbage(store)
    imgfs("load", archive, "--store", store)
    assert _check_whole(store, images) == {image.id for image in images}


def test_killing_a_removal_at_any_instant_leaves_nothing_half_gone(
    imgfs: Imgfs, tmp_path: Path, archive: Path, images: list[TestImage]
) -> None:
    store = tmp_path / "store"
    imgfs("load", archive, "--store", store)
    started = time.monotonic()
    imgfs("rm", "example/grandchild:1", "--store", store)
    whole = time.monotonic() - started
    for attempt in range(KILLS // 2):
        imgfs("load", archive, "-q", "--store", store)
        process = _run(store, "rm", "example/grandchild:1")
        time.sleep(whole * (0.4 + 0.6 * attempt / (KILLS // 2)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert _check_whole(store, images) >= {image.id for image in images[:2]}
    _check_no_garbage(store)


def test_several_processes_write_at_once(tmp_path: Path, imgfs: Imgfs) -> None:
    """Loads of images that share layers, side by side, with removals between them."""
    shared = layer_tar({"shared": os.urandom(300_000)})
    images = [TestImage([shared, layer_tar({f"own-{n}": os.urandom(1000)})], [f"many:{n}"]) for n in range(6)]
    store = tmp_path / "store"
    archives = [docker_archive(tmp_path / f"{n}.tar", [image]) for n, image in enumerate(images)]
    for _ in range(2):
        processes = [_run(store, "load", path) for path in archives]
        for process in processes:
            _, stderr = process.communicate()
            assert process.returncode == 0, stderr
        assert _check_whole(store, images) == {image.id for image in images}
        processes = [_run(store, "rm", image.id) for image in images[1:]]
        for process in processes:
            _, stderr = process.communicate()
            assert process.returncode == 0, stderr
        assert _check_whole(store, images) == {images[0].id}
    _check_no_garbage(store)


def test_a_layer_staged_is_not_swept_by_another_writer(tmp_path: Path) -> None:
    layer = layer_tar({"a": b"a"})
    layout = Layout(str(tmp_path / "store"))
    with indexing(tmp_path) as indexer, Writer(layout, indexer) as one, Writer(layout, indexer) as two:
        staged = one.stage([layer], "layer", lambda count: None)
        two.untag([])
        image = TestImage([layer])
        assert one.commit(image.config, [staged], None, ["a:1"]) == image.id
    assert _check_whole(tmp_path / "store", [image]) == {image.id}


@pytest.mark.parametrize("folder", ["imagedb/content", "layers"])
def test_nothing_is_swept_while_an_image_or_a_layer_cannot_be_read(
    imgfs: Imgfs, tmp_path: Path, folder: str
) -> None:
    """Whoever has a layer may be what cannot be read for a moment."""
    images = [TestImage([layer_tar({name: os.urandom(1000)})], [f"{name}:1"]) for name in ("a", "b")]
    store = tmp_path / "store"
    imgfs("load", docker_archive(tmp_path / "two.tar", images), "--store", store)
    names = {"imagedb/content": images[0].id[7:], "layers": digest(images[0].layers[0])[7:]}
    record = store / folder / "sha256" / names[folder]
    data = record.read_bytes()
    record.write_bytes(data[:-1])
    told = imgfs("rm", "b:1", "--store", store).stderr
    record.write_bytes(data)
    assert _check_whole(store, images) == {images[0].id}
    assert b"are kept" in told
    _check_no_garbage(store)


def test_a_reader_follows_what_others_do(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path / "store"))
    layout.create()
    image = TestImage([layer_tar({"a": b"a"})])
    with indexing(tmp_path) as indexer, Writer(layout, indexer) as writer:
        source = open_source(f"imgfs:{layout.root}", indexer)
        image_id = writer.commit(
            image.config, [writer.stage(image.layers, "layer", lambda count: None)], None, ["a:1"]
        )
        assert source.refresh()
        assert source.tags == {"a:1": image.id}
        writer.remove(image_id)
        assert source.refresh()
        assert not source.store.map()
        assert isinstance(source.layers, LayerRegistry)
        assert source.layers.references() == {}
