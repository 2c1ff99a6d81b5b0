"""Stores of many images: how long it takes to mount and list one, and to change and follow it.

Each image has four layers that all share and one of its own, and a name. Changes are timed from their beginning until
a mount shows them, too.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from imgfs.digest import DiffID
from imgfs.layers import chain_ids
from tests.bench.report import Row, limit_row, seconds
from tests.images import TestImage, digest, docker_archive, layer_tar, oci_layout
from tests.splitting import docker_root, graph_root

_COUNTS = (1_000, 10_000)
_IMGFS = (sys.executable, "-m", "imgfs")


def run(work: Path, repeats: int) -> Sequence[Row]:
    """All rows: a store of each kind, of each size."""
    rows: list[Row] = []
    for count in _COUNTS:
        images = _images(count)
        for kind, make in _MAKERS.items():
            with tempfile.TemporaryDirectory(dir=work) as folder:
                place = Path(folder)
                environment = {"XDG_CACHE_HOME": str(place / "cache")}
                what, store = f"{kind}: {count:,} images", make(place / "store", images)
                rows += _looking(what, f"{kind}:{store}", count, place, environment)
                if kind == "imgfs":
                    rows += _changing(what, store, place, environment)
                    rows += _loading(what, images, place, environment)
    return rows


def _images(count: int) -> list[TestImage]:
    shared = [layer_tar({f"shared-{number}": b"%d" % number}) for number in range(4)]
    return [TestImage([*shared, layer_tar({"own": b"%d" % n})], [f"many/image-{n}:1"]) for n in range(count)]


def own_store(root: Path, images: Sequence[TestImage]) -> Path:
    """A store of ours with these images, written file by file."""
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


_MAKERS: Mapping[str, Callable[[Path, Sequence[TestImage]], Path]] = {
    "imgfs": own_store,
    "oci": lambda root, images: oci_layout(root, list(images)),
    "docker": docker_root,
    "containers-storage": graph_root,
}


def _looking(what: str, source: str, count: int, place: Path, environment: dict[str, str]) -> Iterator[Row]:
    _imgfs("ls", source, environment=environment)  # so that all of it is in memory
    listing = seconds(lambda: _imgfs("ls", source, environment=environment))
    yield Row(f"{what}: ls", f"{listing:.2f} s")
    start = time.perf_counter()
    with _mounted(source, place, environment) as (top, pid):
        mounting = time.perf_counter() - start
        processor = _processor_seconds(pid)
        if len(os.listdir(top / "images")) != count:
            raise RuntimeError("not every image is shown")
        memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    figure = f"{mounting:.2f} s, {processor:.2f} s of CPU"
    yield Row(f"{what}: mount", figure, "under 1.5 s", mounting < 1.5)
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


def _loading(
    what: str, images: Sequence[TestImage], place: Path, environment: dict[str, str]
) -> Iterator[Row]:
    archive = docker_archive(place / "images.tar", list(images))
    before = os.times()
    start = time.perf_counter()
    _imgfs("load", "-q", str(archive), "--store", str(place / "loaded"), environment=environment)
    loading, after = time.perf_counter() - start, os.times()
    processor = sum(after[2:4]) - sum(before[2:4])
    yield Row(
        f"{what}: load", f"{loading:.2f} s, {processor:.2f} s of CPU", "under 20 s of CPU", processor < 20
    )


def _processor_seconds(pid: int) -> float:
    """What a process has taken of the processors so far. Format: proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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
