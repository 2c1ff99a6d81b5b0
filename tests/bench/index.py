"""Indexing layers and reading them with their indexes, against rapidgzip, ratarmount, indexed_gzip and tarfile."""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from imgfs.blob import FileBlob
from imgfs.cache import Cache
from imgfs.digest import ChainID, DiffID, Digest
from imgfs.layers import BlobLayer, Indexer, index_layer
from imgfs.tar import scan_blob
from tests.bench import material, rivals
from tests.bench.report import (
    Row,
    alternating,
    command,
    cores_used,
    limit_row,
    peak_memory,
    peak_memory_of,
    ratio_row,
    seconds,
)

_SIZE, _LARGE, _READERS, _PARTS = 1_430_000_000, 2_000_000_000, 8, 6
_PART_FILES = 14_000  # about as many as make a part
_READ_SIZE, _READS = 128 << 10, 200
_IMGFS = (sys.executable, "-m", "imgfs")


def run(work: Path, repeats: int) -> Sequence[Row]:
    """All rows. Makes 10 GB of material the first time, which takes some minutes."""
    programs = rivals.environment(work)
    blob = material.layer(material.gzipped(material.real_tar(work / "layer.tar", _SIZE)))
    layout = material.layout(work / "layout", [[blob]])
    parts = [_part(work, number) for number in range(_PARTS)]
    large = material.gzipped(material.real_tar(work / "large.tar", _LARGE, ending=False))
    many = material.layout(work / "many", [[variant] for variant in material.variants(large, _READERS)])
    headers = material.real_tar(work / "headers.tar", 600_000_000)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        scratch = Path(folder)
        return [
            *_first_indexing({"1 layer": [blob], f"{_PARTS} layers": parts}, programs, scratch, repeats),
            *_never_seen(layout, scratch, repeats),
            *_with_index(work, blob, programs, scratch, repeats),
            *_memory(many, scratch),
            _scanning(headers, repeats),
        ]


def _part(work: Path, number: int) -> material.Blob:
    """One of several layers that are as large as the single one together."""
    tar = material.real_tar(work / f"part-{number}.tar", _SIZE // _PARTS, first=number * _PART_FILES)
    return material.layer(material.gzipped(tar))


def _first_indexing(
    images: Mapping[str, Sequence[material.Blob]], programs: Path, scratch: Path, repeats: int
) -> Iterator[Row]:
    """Rows for each image, whose layers another program decodes or mounts one after another."""
    rapidgzip = Path(sys.executable).parent / "rapidgzip"
    top = scratch / "ratarmount"
    top.mkdir()

    def mounting(blobs: Sequence[material.Blob]) -> float:
        indexes = scratch / "ratarmount-indexes"
        paths = [blob.path for blob in blobs]
        taken = command(programs / "ratarmount", "--index-folders", indexes, *paths, top)()
        subprocess.run(["fusermount3", "-u", top], check=True)
        shutil.rmtree(indexes)
        return taken

    def decoding(blobs: Sequence[material.Blob]) -> float:
        return sum(command(rapidgzip, "-d", "-P", "0", "-c", blob.path)() for blob in blobs)

    for name, blobs in images.items():
        layout = material.layout(scratch / name, [blobs])
        times = alternating(
            {
                "imgfs": partial(_fresh, scratch, *_IMGFS, "index", layout),
                "rapidgzip": partial(decoding, blobs),
                "ratarmount": partial(mounting, blobs),
            },
            repeats,
        )
        yield ratio_row(f"imgfs index, {name}, to rapidgzip -d -P 0", times["imgfs"], times["rapidgzip"], 1.6)
        yield ratio_row(
            f"imgfs index, {name}, to ratarmount's first mount", times["imgfs"], times["ratarmount"], 0.5
        )
        busy = cores_used(*_IMGFS, "index", layout, XDG_CACHE_HOME=str(scratch / "fresh"))
        shutil.rmtree(scratch / "fresh")
        yield Row(f"cores that imgfs index, {name}, keeps busy", f"{busy:.2f} of {os.cpu_count()}")


def _never_seen(layout: Path, scratch: Path, repeats: int) -> Iterator[Row]:
    def reading(option: str, *tool: str) -> Callable[[], float]:
        def run() -> float:
            with _mounted(layout, scratch / "fresh", option) as (_, files):
                taken = command(*tool, files[0])()
            shutil.rmtree(scratch / "fresh")
            return taken

        return run

    times = alternating(
        {
            "index": lambda: _fresh(scratch, *_IMGFS, "index", layout),
            "tar": reading("size=exact", "tar", "tf"),
            "head": reading("size=lazy", "head", "-c", "1M"),
        },
        repeats,
    )
    yield ratio_row(
        "tar tf of an image never seen, size=exact, to imgfs index", times["tar"], times["index"], 1.4
    )
    yield Row("head -c 1M of an image never seen, size=lazy", f"{times['head'] * 1000:.0f} ms")


def _with_index(
    work: Path, blob: material.Blob, programs: Path, scratch: Path, repeats: int
) -> Iterator[Row]:
    cache = scratch / "indexed"
    size = (work / "layer.tar").stat().st_size

    def layer(indexer: Indexer) -> BlobLayer:
        diff_id = DiffID(blob.diff_id)
        return BlobLayer(
            ChainID(diff_id), diff_id, None, lambda: FileBlob(blob.path), indexer, Digest(blob.stored)
        )

    def indexer() -> Indexer:
        return Indexer(Cache(str(cache), 1 << 30))

    index_layer(layer(indexer()), lambda _: None)

    def reopen() -> float:
        return seconds(lambda: layer(indexer()).open().pread(1, size // 2))

    def reads() -> float:
        dice, times = random.Random(1), []
        with layer(indexer()).open() as tar:
            for _ in range(_READS):
                offset = dice.randrange(size)
                times.append(seconds(lambda offset=offset: tar.pread(_READ_SIZE, offset)))  # type: ignore[misc]
        return statistics.median(times)

    def their_reads() -> float:
        given = (str(blob.path), str(size), str(_READS))
        arguments = [str(programs / "python"), "-c", rivals.INDEXED_GZIP_READS, *given]
        return float(subprocess.run(arguments, capture_output=True, check=True).stdout)

    times = alternating({"reopen": reopen, "imgfs": reads, "indexed_gzip": their_reads}, repeats)
    yield limit_row("reopening a layer with its index", times["reopen"] * 1000, 100, "ms")
    yield ratio_row(
        "random 128 KiB reads, p50, to indexed_gzip", times["imgfs"], times["indexed_gzip"], 0.5, "ms"
    )


def _memory(many: Path, scratch: Path) -> Iterator[Row]:
    cache = scratch / "many"
    indexing = peak_memory(*_IMGFS, "index", many, XDG_CACHE_HOME=str(cache))
    yield limit_row(f"peak memory, indexing {_READERS} layers of 2 GB", indexing, 600, "MB")
    with _mounted(many, cache, "size=exact") as (pid, files), ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(_read_about, files))
        yield limit_row(
            f"peak memory, {_READERS} readers of {_READERS} layers", peak_memory_of(pid), 300, "MB"
        )


def _read_about(path: Path) -> None:
    """Read here and there, and a stretch in order."""
    dice = random.Random(str(path))
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for _ in range(100):
            os.pread(file.fileno(), _READ_SIZE, dice.randrange(size))
        start = dice.randrange(size // 2)
        for offset in range(start, start + (100 << 20), 1 << 20):
            os.pread(file.fileno(), 1 << 20, offset)


def _scanning(headers: Path, repeats: int) -> Row:
    def ours() -> float:
        with FileBlob(headers) as blob:
            return seconds(lambda: list(scan_blob(blob)))

    def theirs() -> float:
        with tarfile.open(headers) as archive:
            return seconds(archive.getmembers)

    times = alternating({"imgfs": ours, "tarfile": theirs}, 2 * repeats)
    with FileBlob(headers) as blob:
        count = sum(1 for _ in scan_blob(blob))
    speeds = [count / times[name] / 1000 for name in ("imgfs", "tarfile")]
    figure = f"{speeds[0]:.0f}k to {speeds[1]:.0f}k members/s: {speeds[0] / speeds[1]:.2f} times"
    return Row("scanning headers, to tarfile", figure, "at least 4 times", speeds[0] >= 4 * speeds[1])


def _fresh(scratch: Path, *arguments: object) -> float:
    """Seconds that a command takes with an empty cache."""
    taken = command(*arguments, XDG_CACHE_HOME=str(scratch / "fresh"))()
    shutil.rmtree(scratch / "fresh")
    return taken


@contextmanager
def _mounted(layout: Path, cache: Path, option: str) -> Iterator[tuple[int, list[Path]]]:
    """A mount in front: its process and the rootfs.tar of each image."""
    top = cache.parent / "mnt"
    top.mkdir(exist_ok=True)
    arguments = [*_IMGFS, "mount", "-f", "-o", option, str(layout), str(top)]
    process = subprocess.Popen(arguments, env=os.environ | {"XDG_CACHE_HOME": str(cache)})
    try:
        while not os.path.ismount(top):
            if process.poll() is not None:
                raise RuntimeError("imgfs mount failed")
            time.sleep(0.02)
        names = sorted(os.listdir(top / "images"))  # and not a glob, which would stat
        yield process.pid, [top / "images" / name / "rootfs.tar" for name in names]
    finally:
        process.terminate()
        process.wait()
