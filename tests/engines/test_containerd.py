"""A real containerd, read while it runs."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.digest import ImageID
from imgfs.errors import SourceNotFound
from imgfs.layers import Indexer, chain_ids
from imgfs.sources import Source, open_source
from tests.conftest import Mount, eventually
from tests.engines.containerd import Containerd, archives, listing, running_containerd
from tests.images import TestImage, family, layer_tar
from tests.indexing import indexing

ZSTD = ("-f", "oci", "--dest-compress", "--dest-compress-format=zstd")


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    with running_containerd(tmp_path_factory.mktemp("containerd")) as running:
        yield running


@pytest.fixture(scope="module")
def images() -> list[TestImage]:
    return family()


@pytest.fixture(scope="module")
def zstd_image() -> TestImage:
    return TestImage(
        [layer_tar({"zstd": os.urandom(300_000) * 2}), layer_tar({"b": b""})], ["example/zstd:1"]
    )


@pytest.fixture(scope="module")
def filled(
    containerd: Containerd,
    tmp_path_factory: pytest.TempPathFactory,
    images: list[TestImage],
    zstd_image: TestImage,
) -> Containerd:
    """The family in the namespace `default`, its base in `k8s.io` too, and an image with zstd there."""
    archive, *more = archives(tmp_path_factory.mktemp("gzip"), images)
    for path in (archive, *more):
        containerd.load(path)
    containerd.load(archive, namespace="k8s.io")
    (path,) = archives(tmp_path_factory.mktemp("zstd"), [zstd_image], *ZSTD)
    containerd.load(path, namespace="k8s.io")
    return containerd


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    with indexing(tmp_path) as made:
        yield made


@pytest.fixture
def source(filled: Containerd, indexer: Indexer) -> Iterator[Source]:
    with closing(open_source(f"containerd:{filled.root}", indexer)) as opened:
        yield opened


def test_has_the_images_of_all_namespaces(
    source: Source, images: list[TestImage], zstd_image: TestImage
) -> None:
    everything = [*images, zstd_image]
    assert set(source.store.map()) == {image.id for image in everything}
    assert source.tags == {tag: image.id for image in everything for tag in image.tags}
    assert not source.problems


def test_a_namespace_can_be_chosen(
    filled: Containerd, indexer: Indexer, images: list[TestImage], zstd_image: TestImage
) -> None:
    with closing(open_source(f"containerd:{filled.root}#k8s.io", indexer)) as source:
        assert set(source.store.map()) == {images[0].id, zstd_image.id}
        assert source.reference == f"containerd:{filled.root}#k8s.io"
    with pytest.raises(SourceNotFound, match=r"'nonesuch' \(there are default, k8s.io\)"):
        open_source(f"containerd:{filled.root}#nonesuch", indexer)


def test_configs_are_the_bytes_containerd_has(
    filled: Containerd, source: Source, images: list[TestImage]
) -> None:
    for image in images:
        config = source.store.get(ImageID(image.id)).raw_config
        assert config == image.config == filled.ctr("content", "get", image.id).encode()


def test_every_layer_hashes_to_its_diff_id(source: Source) -> None:
    seen = 0
    for image_id in source.store.map():
        for chain_id in chain_ids(source.store.get(image_id).diff_ids):
            layer = source.layers.get(chain_id)
            with layer.open() as blob:
                assert "sha256:" + hashlib.sha256(blob.pread(1 << 30, 0)).hexdigest() == layer.diff_id
            source.layers.release(layer)
            seen += 1
    assert seen >= 11


def test_tar_stream_is_the_plain_concatenation(
    source: Source, images: list[TestImage], zstd_image: TestImage
) -> None:
    for image in [*images, zstd_image]:
        with source.store.get_tar_seek_stream(ImageID(image.id)) as stream:
            assert stream.read() == image.verbatim


def test_nothing_is_written_and_no_lock_taken(
    filled: Containerd, mount: Mount, images: list[TestImage], tmp_path: Path
) -> None:
    filled.collect_garbage()
    before = listing(filled.root)
    with mount(f"containerd:{filled.root}", options="tar=verbatim") as top:
        for image in images:
            folder = top / "images" / image.id[7:]
            assert (folder / "rootfs.tar").read_bytes() == image.verbatim
            assert (folder / "config.json").read_bytes() == image.config
        locks = Path("/proc/locks").read_text().splitlines()
        inode = f":{filled.database.stat().st_ino} "
        assert sum(inode in line for line in locks) == 1  # containerd's own
    assert listing(filled.root) == before


def test_images_come_and_go_while_mounted(
    filled: Containerd, mount: Mount, tmp_path: Path, images: list[TestImage]
) -> None:
    image = TestImage([layer_tar({"live": os.urandom(3_000_000)})], ["example/live:1"])
    (archive,) = archives(tmp_path, [image])
    with mount(f"containerd:{filled.root}", options="tar=verbatim") as top:
        folder = top / "images" / image.id[7:]
        assert not folder.exists()
        filled.load(archive)
        assert eventually(folder.exists)
        with (folder / "rootfs.tar").open("rb") as file:
            beginning = file.read(100_000)
            filled.remove("example/live:1")
            assert eventually(lambda: not folder.exists())
            assert len(os.listdir(top / "images")) == len(images) + 1
            assert beginning + file.read() == image.verbatim
    log = tmp_path / "log"
    assert not log.exists() or "skipping" not in log.read_text()
