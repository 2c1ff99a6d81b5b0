"""Stores of many images: how long it takes to mount and list one, and to change and follow it.

Each image has four layers that all share and one of its own, and a name. Changes are timed from their beginning until
a mount shows them, too.
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from imgfs.digest import DiffID
from imgfs.layers import chain_ids
from tests.bench.report import Row, limit_row, seconds
from tests.images import TestImage, digest, layer_tar, oci_layout

_COUNTS = (1_000, 10_000)
_IMGFS = (sys.executable, "-m", "imgfs")


def run(work: Path, repeats: int) -> Sequence[Row]:
    """All rows: a store of ours and a layout, of each size."""
    rows: list[Row] = []
    for count in _COUNTS:
        with tempfile.TemporaryDirectory(dir=work) as folder:
            place = Path(folder)
            environment = {"XDG_CACHE_HOME": str(place / "cache")}
            images = _images(count)
            layout = oci_layout(place / "layout", images)
            rows += _looking(f"oci: {count:,} images", f"oci:{layout}", count, place, environment)
            shutil.rmtree(layout)
            store = own_store(place / "store", images)
            rows += _looking(f"imgfs: {count:,} images", f"imgfs:{store}", count, place, environment)
            rows += _changing(f"imgfs: {count:,} images", store, place, environment)
    return rows


def _images(count: int) -> list[TestImage]:
    shared = [layer_tar({f"shared-{number}": b"%d" % number}) for number in range(4)]
    return [TestImage([*shared, layer_tar({"own": b"%d" % n})], [f"many/image-{n}:1"]) for n in range(count)]


def own_store(root: Path, images: Sequence[TestImage]) -> Path:
    """A store of ours with these images, written file by file, as loading them takes very long."""
    blobs, layers, content = root / "blobs/sha256", root / "layers/sha256", root / "imagedb/content/sha256"
    for folder in (blobs, layers, content, root / "tmp"):
        folder.mkdir(parents=True)
    (root / "imgfs-store").write_text("1\n")
    names: dict[str, dict[str, str]] = {}
    for image in images:
        (content / image.id[7:]).write_bytes(image.config)
        diff_ids = [DiffID(digest(layer)) for layer in image.layers]
        below = None
        for chain_id, diff_id, layer in zip(chain_ids(diff_ids), diff_ids, image.layers, strict=True):
            record = {"diffId": diff_id, "size": len(layer), "parent": below}
            below = chain_id
            if not (layers / chain_id.hex).exists():
                stored = gzip.compress(layer, mtime=0)
                (blobs / digest(stored)[7:]).write_bytes(stored)
                (layers / chain_id.hex).write_text(json.dumps(record | {"blob": digest(stored)}))
        names |= {tag.rpartition(":")[0]: {tag: image.id} for tag in image.tags}
    (root / "repositories.json").write_text(json.dumps({"Repositories": names}))
    return root


def _looking(what: str, source: str, count: int, place: Path, environment: dict[str, str]) -> Iterator[Row]:
    _imgfs("ls", source, environment=environment)  # so that all of it is in memory
    listing = seconds(lambda: _imgfs("ls", source, environment=environment))
    yield Row(f"{what}: ls", f"{listing:.2f} s")
    start = time.perf_counter()
    with _mounted(source, place, environment) as (top, pid):
        mounting = time.perf_counter() - start
        if len(os.listdir(top / "images")) != count:
            raise RuntimeError("not every image is shown")
        memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    yield Row(f"{what}: mount", f"{mounting:.2f} s", "under 1.5 s", mounting < 1.5)
    yield limit_row(f"{what}: memory of the mount", memory / 1e6, 100, "MB")


def _changing(what: str, store: Path, place: Path, environment: dict[str, str]) -> Iterator[Row]:
    source = f"imgfs:{store}"
    with _mounted(source, place, environment) as (top, _):

        def until(path: Path, there: bool) -> None:
            while os.path.lexists(path) != there:
                time.sleep(0.005)

        for command, shown in (
            (["tag", "many/image-0:1", "many/new:1"], ("many/new:1", True)),
            (["rm", "-f", "many/image-1:1"], ("many/image-1:1", False)),
        ):
            start = time.perf_counter()
            _imgfs(command[0], "--store", str(store), *command[1:], environment=environment)
            done = time.perf_counter()
            until(top / "tags" / shown[0], shown[1])
            seen = time.perf_counter()
            yield Row(f"{what}: {command[0]}", f"{done - start:.2f} s, shown {seen - done:.2f} s later")


def _imgfs(*arguments: str, environment: dict[str, str]) -> None:
    command = [*_IMGFS, *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | environment)


@contextmanager
def _mounted(source: str, place: Path, environment: dict[str, str]) -> Iterator[tuple[Path, int]]:
    top = place / "mnt"
    top.mkdir(exist_ok=True)
    daemon = subprocess.Popen([*_IMGFS, "mount", "-f", source, str(top)], env=os.environ | environment)
    try:
        while not os.path.ismount(top):
            if daemon.poll() is not None:
                raise RuntimeError(f"mounting {source} failed")
            time.sleep(0.005)
        yield top, daemon.pid
    finally:
        daemon.terminate()
        daemon.wait()
