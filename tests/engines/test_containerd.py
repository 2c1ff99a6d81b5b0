"""A real containerd, read while it runs."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.digest import ImageID
from imgfs.errors import SourceNotFound
from imgfs.layers import Indexer, chain_ids
from imgfs.sources import Source, open_source
from tests.conftest import Imgfs, Mount
from tests.engines.conftest import with_one_suite
from tests.engines.containerd import (
    Containerd,
    archives,
    listing,
    running_containerd,
)
from tests.images import TestImage, family, layer_tar
from tests.indexing import indexing
from tests.tools import require_tool

ZSTD = ("-f", "oci", "--dest-compress", "--dest-compress-format=zstd")


@pytest.fixture(scope="module")
def containerd(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    with running_containerd(tmp_path_factory.mktemp("containerd"), suite) as running:
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


@with_one_suite
@pytest.mark.parametrize("compression", ["gzip", "zstd", "zstd:chunked"])
def test_images_of_buildah_verify_whatever_their_compression(
    containerd: Containerd, imgfs: Imgfs, tmp_path: Path, compression: str
) -> None:
    (tmp_path / "files/etc").mkdir(parents=True)
    (tmp_path / "files/etc/data").write_bytes(os.urandom(300_000) * 2)
    (tmp_path / "files/etc/link").symlink_to("data")
    place = ("--root", tmp_path / "graph", "--runroot", tmp_path / "run", "--storage-driver", "vfs")

    def buildah(*arguments: str | Path) -> str:
        command = [require_tool("buildah"), *map(str, place), *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    container = buildah("from", "scratch")
    buildah("copy", container, tmp_path / "files", "/")
    buildah("commit", "-q", container, "built:1")
    archive = f"oci-archive:{tmp_path / 'built.tar'}:built:1"
    buildah("push", "-q", "--format", "oci", "--compression-format", compression, "built:1", archive)
    space = f"buildah-{compression.replace(':', '-')}"
    containerd.load(tmp_path / "built.tar", namespace=space)
    reference = f"containerd:{containerd.root}#{space}"
    *lines, _ = imgfs("verify", reference).stdout.decode().splitlines()
    assert all(line.startswith("good  ") for line in lines), lines
    assert {"config", "layer"} <= {line.split()[1] for line in lines}
    tar = imgfs("export", "--tar", "rootfs", "--source", reference, "built:1").stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive_file:
        assert archive_file.getnames() == ["etc", "etc/data", "etc/link"]


def test_parents_are_those_that_dockers_builder_records(
    filled: Containerd, indexer: Indexer, images: list[TestImage], tmp_path: Path
) -> None:
    base, child, _ = images
    listed = filled.ctr("images", "ls", f"name=={base.tags[0]}").splitlines()[1].split()
    with closing(open_source(f"containerd:{filled.root}", indexer)) as source:
        for target, children in ((listed[2], [child.id]), ("", [])):
            filled.ctr("images", "label", child.tags[0], f"org.mobyproject.image.parent={target}")
            assert source.refresh()
            assert source.store.children(ImageID(base.id)) == children


@pytest.mark.parametrize("gone", ["gzip", "zstd"])
def test_layers_whose_blobs_are_gone_are_read_from_their_blobs_in_another_compression(
    containerd: Containerd, indexer: Indexer, tmp_path: Path, gone: str
) -> None:
    """As after a pull of layers that are unpacked already, of which containerd does not fetch the blobs."""
    layers = [layer_tar({name: os.urandom(3000) * 2}) for name in ("a", "b")]
    image = TestImage(layers, ["example/same:1"])
    space = f"gone-{gone}"
    for name, options in (("gzip", ()), ("zstd", ZSTD)):
        (tmp_path / name).mkdir()
        (path,) = archives(tmp_path / name, [image], *options)
        containerd.load(path, namespace=space)
        containerd.ctr("images", "tag", "--force", "example/same:1", f"example/{name}:1", namespace=space)
    listed = (
        containerd.ctr("images", "ls", f"name==example/{gone}:1", namespace=space).splitlines()[1].split()
    )
    manifest = json.loads(containerd.ctr("content", "get", listed[2], namespace=space))
    for layer in manifest["layers"]:
        containerd.ctr("content", "rm", layer["digest"], namespace=space)
    containerd.collect_garbage()
    assert not any((containerd.blobs / layer["digest"][7:]).exists() for layer in manifest["layers"])
    with closing(open_source(f"containerd:{containerd.root}#{space}", indexer)) as source:
        assert {"example/gzip:1", "example/zstd:1"} <= set(source.tags)
        for tag in source.tags:
            with source.store.get_tar_seek_stream(source.tags[tag]) as stream:
                assert stream.read() == image.verbatim


@with_one_suite
@pytest.mark.parametrize("damage", ["absent", "nonsense", "zeros"])
def test_without_a_database_images_are_found_by_their_blobs(
    filled: Containerd,
    tmp_path: Path,
    indexer: Indexer,
    images: list[TestImage],
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    shutil.copytree(filled.root, tmp_path / "root", ignore=shutil.ignore_patterns("*.sock", "*snapshotter*"))
    database = tmp_path / "root" / filled.database.relative_to(filled.root)
    match damage:
        case "absent":
            database.unlink()
        case "nonsense":
            database.write_bytes(os.urandom(100_000))
        case "zeros":
            database.write_bytes(database.read_bytes()[:8192] + bytes(100_000))
    with closing(open_source(f"containerd:{tmp_path / 'root'}", indexer)) as source:
        assert {image.id for image in images} <= set(source.store.map())
        assert not source.tags
        with source.store.get_tar_seek_stream(ImageID(images[-1].id)) as stream:
            assert stream.read() == images[-1].verbatim
        (record,) = caplog.records
        assert "scanning its blobs" in record.getMessage()
        assert "meta.db" in record.getMessage()
        database.write_bytes(filled.database.read_bytes())
        assert source.refresh()
        assert "example/base:1" in source.tags
        assert not source.problems
