"""A store of ours as it may be found: tampered with, damaged, changing."""

import json
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.digest import ImageID
from imgfs.errors import ImgfsError
from imgfs.layers import Indexer
from imgfs.sources import Source, open_source
from tests.conftest import Imgfs
from tests.images import TestImage, digest, docker_archive, layer_tar
from tests.indexing import indexing

IMAGE = TestImage([layer_tar({"a": b"a"})], ["a:1"])
OTHER = TestImage([layer_tar({"b": b"b"})], ["b:1"])
RECORD = f"layers/sha256/{digest(IMAGE.layers[0])[7:]}"


@pytest.fixture
def store(imgfs: Imgfs, tmp_path: Path) -> Path:
    """A store with two images."""
    imgfs("load", docker_archive(tmp_path / "two.tar", [IMAGE, OTHER]), "--store", tmp_path / "store")
    return tmp_path / "store"


def _open(store: Path, indexer: Indexer) -> "closing[Source]":
    return closing(open_source(f"imgfs:{store}", indexer))


def _tar(source: Source, image: TestImage) -> bytes:
    with source.store.get_tar_seek_stream(ImageID(image.id)) as stream:
        return stream.read()


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _replace_by_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _enlarge(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b" " * (65 << 20))


SPOILING: dict[str, Callable[[Path], None]] = {
    "pipe": _replace_by_pipe,
    "symbolic link": _link,
    "large file": _enlarge,
}


@pytest.mark.parametrize("how", SPOILING)
def test_only_small_plain_files_are_read(store: Path, tmp_path: Path, how: str) -> None:
    SPOILING[how](store / "imgfs-store")
    with indexing(tmp_path) as indexer:
        with pytest.raises((ImgfsError, OSError), match="imgfs-store"), _open(store, indexer):
            pass


@pytest.mark.parametrize("how", SPOILING)
def test_names_that_cannot_be_read_are_reported_and_images_are_seen(
    store: Path, tmp_path: Path, how: str
) -> None:
    SPOILING[how](store / "repositories.json")
    with indexing(tmp_path) as indexer, _open(store, indexer) as source:
        assert ["repositories.json" in problem for problem in source.problems] == [True]
        assert source.tags == {}
        assert _tar(source, IMAGE) == IMAGE.verbatim


def test_a_time_in_the_future_is_not_waited_for(store: Path, tmp_path: Path) -> None:
    for name in ("imagedb/content/sha256", "repositories.json"):
        os.utime(store / name, (4e9, 4e9))
    with indexing(tmp_path) as indexer, _open(store, indexer) as source:
        assert not source.refresh()


@pytest.mark.parametrize("size", [-5, 1 << 63, 10**30])
def test_a_layer_with_a_size_that_no_tar_can_have_is_missing(store: Path, tmp_path: Path, size: int) -> None:
    record = json.loads((store / RECORD).read_text())
    (store / RECORD).write_text(json.dumps(record | {"size": size}))
    with indexing(tmp_path) as indexer, _open(store, indexer) as source:
        assert source.store.layers(ImageID(IMAGE.id)).look_for_size() is None
        with pytest.raises(ImgfsError, match=RECORD):
            _tar(source, IMAGE)
        assert _tar(source, OTHER) == OTHER.verbatim


@pytest.mark.parametrize("how", SPOILING)
def test_a_layer_whose_record_is_no_small_plain_file_is_missing(
    store: Path, tmp_path: Path, how: str
) -> None:
    SPOILING[how](store / RECORD)
    with indexing(tmp_path) as indexer, _open(store, indexer) as source:
        with pytest.raises((ImgfsError, OSError), match=RECORD):
            _tar(source, IMAGE)
        assert _tar(source, OTHER) == OTHER.verbatim
