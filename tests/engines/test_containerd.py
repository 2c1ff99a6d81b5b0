"""A real containerd, read while it runs."""

import hashlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.digest import ImageID
from imgfs.errors import SourceNotFound, StoreError
from imgfs.layers import Indexer, chain_ids
from imgfs.sources import Source, open_source
from imgfs.sources.bolt import Bucket, read_bolt, read_state
from imgfs.sources.containerd_names import read_names
from tests.conftest import Mount, eventually
from tests.engines.containerd import (
    Containerd,
    archive_of,
    archives,
    listing,
    multi_platform_layout,
    running_containerd,
    running_registry,
)
from tests.images import TestImage, family, layer_tar, oci_layout
from tests.indexing import indexing
from tests.sources.test_bolt import everything
from tests.tools import require_tool

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


def test_one_platform_of_many_is_what_was_pulled(
    containerd: Containerd, tmp_path: Path, indexer: Indexer, caplog: pytest.LogCaptureFixture
) -> None:
    """The other platforms, which the index names too, are no problem; nor are layers that were discarded."""
    images = {
        name: TestImage([layer_tar({name: b""})], extra={"architecture": name}) for name in ("arm64", "amd64")
    }
    layout = multi_platform_layout(tmp_path / "layout", images, "t")
    with running_registry(tmp_path) as registry:
        name = f"{registry}/x/multi:1"
        command = [require_tool("skopeo"), "copy", "-q", "--all", "--dest-tls-verify=false"]
        subprocess.run([*command, f"oci:{layout}:t", f"docker://{name}"], check=True)
        pull = ("images", "pull", "--plain-http", "--snapshotter=native")
        containerd.ctr(*pull, "--platform=linux/arm64", name, namespace="pulls")
        reference = f"containerd:{containerd.root}#pulls"
        with closing(open_source(reference, indexer)) as source:
            assert set(source.store.map()) == {images["arm64"].id}
            assert source.tags == {name: images["arm64"].id}
            containerd.ctr(*pull, "--all-platforms", name, namespace="pulls")
            assert eventually(lambda: source.refresh() and len(source.store) == 2)
            assert set(source.store.map()) == {image.id for image in images.values()}
            assert not source.problems
            containerd.ctr("content", "prune", "references", namespace="pulls")
            assert eventually(lambda: _unreadable(source))
            assert len(source.store) == 2
            with pytest.raises(StoreError, match="of a layer is not there"):
                source.store.get_tar_seek_stream(ImageID(images["arm64"].id))
    assert not caplog.records


def _unreadable(source: Source) -> bool:
    try:
        for image_id in source.store.map():
            source.store.get_tar_seek_stream(image_id).close()
    except StoreError:
        return True
    return False


def test_layers_discarded_are_eio_and_one_line(containerd: Containerd, mount: Mount, tmp_path: Path) -> None:
    image = TestImage([layer_tar({"discarded": os.urandom(1000)})], ["example/discarded:1"])
    (archive,) = archives(tmp_path, [image])
    containerd.ctr("images", "import", "--snapshotter=native", archive, namespace="discarded")
    containerd.ctr("content", "prune", "references", namespace="discarded")
    with mount(f"containerd:{containerd.root}#discarded") as top:
        folder = top / "images" / image.id[7:]
        assert (folder / "config.json").read_bytes() == image.config
        for _ in range(3):
            with pytest.raises(OSError, match="Input/output error"):
                (folder / "rootfs.tar").read_bytes()
        assert sorted(os.listdir(folder)) == ["children", "config.json", "parent", "rootfs.tar"]
    lines = [line for line in (tmp_path / "log").read_text().splitlines() if "is not there" in line]
    assert len(lines) == 1


@pytest.fixture(scope="module")
def names(containerd: Containerd, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of one image in the namespace `many`: enough for branch pages, and an annotation of several pages."""
    layout = oci_layout(
        tmp_path_factory.mktemp("many") / "layout", [TestImage([layer_tar({"m": b""})], ["m"])]
    )
    index = json.loads((layout / "index.json").read_text())
    (entry,) = index["manifests"]
    names = [f"example/{'long' * (n % 40)}name:{n}" for n in range(400)]
    index["manifests"] = [
        entry | {"annotations": {"io.containerd.image.name": name, "more": "x" * (15_000 if n == 7 else 5)}}
        for n, name in enumerate(names)
    ]
    (layout / "index.json").write_text(json.dumps(index))
    containerd.load(archive_of(layout), namespace="many")
    return names


def test_hundreds_of_names_are_what_containerd_lists(
    containerd: Containerd, names: list[str], indexer: Indexer
) -> None:
    assert set(containerd.ctr("images", "ls", "-q", namespace="many").split()) == set(names)
    with closing(open_source(f"containerd:{containerd.root}#many", indexer)) as source:
        assert source.tags.keys() == set(names)
        assert len(source.store) == 1
    assert read_bolt(str(containerd.database), everything)

    def annotation(root: Bucket) -> bytes | None:
        image = root.bucket(b"v1", b"many", b"images", names[7].encode(), b"annotations")
        return image.get(b"more") if image else None

    assert read_bolt(str(containerd.database), annotation) == b"x" * 15_000


@pytest.mark.parametrize("small", [True, False])
def test_every_look_is_at_one_state_while_containerd_writes(
    containerd: Containerd, names: list[str], monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    """Hundreds of transactions a second: what was there before always is, and no look finds damage."""
    monkeypatch.setattr("imgfs.sources.bolt._SMALL", 16 << 20 if small else 0)
    stop, failures = threading.Event(), []
    database = str(containerd.database)

    def write(number: int) -> None:
        passing = [f"passing/{number}:{n}" for n in range(30)]
        while not stop.is_set():
            try:
                containerd.ctr("images", "tag", names[0], *passing, namespace="many")
                containerd.ctr("images", "rm", *passing, namespace="many")
            except AssertionError as error:
                failures.append(error)
                return

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    sizes = set()
    before = read_state(database).transaction
    try:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            found = read_names(database, "many")
            assert not found.problems
            stable = [entry.name for entry in found.names if not entry.name.startswith("passing/")]
            assert stable == sorted(names)
            sizes.add(len(found.names))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert not failures
    assert len(sizes) > 1
    assert read_state(database).transaction > before + 100


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
