"""A real containerd, followed while it pulls, imports, removes and prunes."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from imgfs.blob import FileBlob
from imgfs.digest import ImageID
from imgfs.errors import StoreError
from imgfs.layers import Indexer
from imgfs.sources import Source, open_source
from imgfs.sources.containerd.bolt import Bucket, read_bolt, read_state
from imgfs.sources.containerd.database import read_names
from tests.conftest import Mount, eventually
from tests.engines.conftest import with_one_suite
from tests.engines.containerd import (
    Containerd,
    archive_of,
    archives,
    multi_platform_layout,
    running_containerd,
    running_registry,
)
from tests.images import TestImage, layer_tar, oci_layout
from tests.indexing import indexing
from tests.sources.containerd.test_bolt import everything
from tests.tools import require_tool


@pytest.fixture(scope="module")
def containerd(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containerd]:
    with running_containerd(tmp_path_factory.mktemp("containerd"), suite) as running:
        yield running


@pytest.fixture
def indexer(tmp_path: Path) -> Iterator[Indexer]:
    with indexing(tmp_path) as made:
        yield made


def test_images_come_and_go_while_mounted(containerd: Containerd, mount: Mount, tmp_path: Path) -> None:
    image = TestImage([layer_tar({"live": os.urandom(3_000_000)})], ["example/live:1"])
    (archive,) = archives(tmp_path, [image])
    with mount(f"containerd:{containerd.root}", options="tar=verbatim") as top:
        folder = top / "images" / image.id[7:]
        assert not folder.exists()
        containerd.load(archive)
        assert eventually(folder.exists)
        with (folder / "rootfs.tar").open("rb") as file:
            beginning = file.read(100_000)
            containerd.remove("example/live:1")
            assert eventually(lambda: not folder.exists())
            assert not os.listdir(top / "images")
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
        options = ("--plain-http", "--snapshotter=native")
        containerd.pull(*options, "--platform=linux/arm64", name, namespace="pulls")
        reference = f"containerd:{containerd.root}#pulls"
        with closing(open_source(reference, indexer)) as source:
            assert set(source.store.map()) == {images["arm64"].id}
            assert source.tags == {name: images["arm64"].id}
            containerd.pull(*options, "--all-platforms", name, namespace="pulls")
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


def test_layers_discarded_with_their_snapshots_are_eio_and_one_line(
    containerd: Containerd, mount: Mount, tmp_path: Path
) -> None:
    image = TestImage([layer_tar({"discarded": os.urandom(1000)})], ["example/discarded:1"])
    (archive,) = archives(tmp_path, [image])
    before = set(containerd.blobs.iterdir())
    containerd.load(archive, namespace="discarded")
    for blob in set(containerd.blobs.iterdir()) - before:
        if not blob.read_bytes().startswith(b"{"):
            blob.unlink()
    with mount(f"containerd:{containerd.root}#discarded") as top:
        folder = top / "images" / image.id[7:]
        assert (folder / "config.json").read_bytes() == image.config
        for _ in range(3):
            with pytest.raises(OSError, match="Input/output error"):
                (folder / "rootfs.tar").read_bytes()
        assert {"config.json", "rootfs.tar"} <= set(os.listdir(folder))
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


@with_one_suite
def test_hundreds_of_names_are_what_containerd_lists(
    containerd: Containerd, names: list[str], indexer: Indexer
) -> None:
    assert set(containerd.ctr("images", "ls", "-q", namespace="many").split()) == set(names)
    with closing(open_source(f"containerd:{containerd.root}#many", indexer)) as source:
        assert source.tags.keys() == set(names)
        assert len(source.store) == 1
    assert read_bolt(partial(FileBlob, str(containerd.database)), everything)

    def annotation(root: Bucket) -> bytes | None:
        image = root.bucket(b"v1", b"many", b"images", names[7].encode(), b"annotations")
        return image.get(b"more") if image else None

    assert read_bolt(partial(FileBlob, str(containerd.database)), annotation) == b"x" * 15_000


@with_one_suite
@pytest.mark.parametrize("small", [True, False])
def test_every_look_is_at_one_state_while_containerd_writes(
    containerd: Containerd, names: list[str], monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    """Many transactions a second: what was there before always is, and no look finds damage.

    A database that is too large to be copied is read between them, so there must be some time between them.
    """
    monkeypatch.setattr("imgfs.sources.containerd.bolt._SMALL", 16 << 20 if small else 0)
    pause = 0.0 if small else 0.2
    stop, failures = threading.Event(), []
    database = str(containerd.database)

    def write(number: int) -> None:
        passing = [f"passing/{number}:{n}" for n in range(30)]
        while not stop.is_set():
            try:
                containerd.ctr("images", "tag", names[0], *passing, namespace="many")
                stop.wait(pause)
                containerd.ctr("images", "rm", *passing, namespace="many")
                stop.wait(pause)
            except AssertionError as error:
                failures.append(error)
                return

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    sizes = set[int]()
    before = read_state(FileBlob(database)).transaction

    def has_seen_enough() -> bool:
        return len(sizes) > 1 and read_state(FileBlob(database)).transaction > before + 100

    try:
        begun = time.monotonic()
        while (seconds := time.monotonic() - begun) < 2 or (seconds < 60 and not has_seen_enough()):
            found = read_names(partial(FileBlob, database), "many")
            assert not found.problems
            stable = [entry.name for entry in found.names if not entry.name.startswith("passing/")]
            assert stable == sorted(names)
            sizes.add(len(found.names))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert not failures
    assert has_seen_enough()
