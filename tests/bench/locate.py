"""`imgfs locate` over 1,000 images made of 400 distinct layers with 5 million distinct entries."""

import gzip
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path

from tests.bench.material import Blob, layout
from tests.bench.report import Row, limit_row, peak_memory, seconds

_GROUPS = (5, 10, 20, 30, 40, 50, 55, 60, 65, 65)
"""How many layers there are at each height of the stacks: the higher, the fewer images share one."""
_ENTRIES = 12_500  # of a layer
_IMAGES = 1_000
_FOLDER = 25  # files in each directory
_IMGFS = (sys.executable, "-m", "imgfs")
_QUESTIONS = (["log4j-core-*.jar"], ["-i", "LOG4J-CORE-2.1"], ["--perm", "/4000"], ["--size", "+1k"])
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def run(work: Path, repeats: int) -> Sequence[Row]:
    """All rows; what is indexed is kept for the next run."""
    place, cache = store(work), work / "locate-cache"
    environment = {"XDG_CACHE_HOME": str(cache)}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as where imgfs is installed
    rows = []
    if not cache.exists():
        taken = seconds(lambda: _locate(place, environment, "log4j"))
        rows.append(Row("index 400 layers", f"{taken:.0f} s"))
    _locate(place, environment, "log4j")
    sizes = {path.suffix: 0 for path in (cache / "imgfs/1").iterdir()}
    for path in (cache / "imgfs/1").iterdir():
        sizes[path.suffix] += path.stat().st_blocks * 512
    entries = sum(_GROUPS) * _ENTRIES
    rows.append(limit_row("kept on disk, an entry", sum(sizes.values()) / entries, 100, "bytes"))
    rows.append(
        Row("of that, for locate alone", f"{(sizes['.locate'] + sizes['.machine']) / entries:.0f} bytes")
    )
    for question in _QUESTIONS:
        ask = partial(_locate, place, environment, "-c", *question)
        times = [seconds(ask) for _ in range(repeats)]
        rows.append(limit_row(f"warm: {' '.join(question)}", statistics.median(times) * 1000, 300, "ms"))
    if os.access(_DROP_CACHES, os.W_OK):
        times = [_cold(place, environment) for _ in range(repeats)]
        rows.append(limit_row("cold, page cache dropped", statistics.median(times) * 1000, 2000, "ms"))
    command = (*_IMGFS, "locate", "--source", f"oci:{place}", "-q", "--limit", "50000", "module_7_*")
    rows.append(limit_row("peak memory, 50,000 results", peak_memory(*command, **environment), 500, "MB"))
    taken = _arrival(work, place, environment)
    rows.append(limit_row("a new image with a new layer is found", taken * 1000, 1000, "ms"))
    rows.append(_compared(place, environment))
    return rows


def _locate(place: Path, environment: dict[str, str], *arguments: str) -> bytes:
    command = [*_IMGFS, "locate", "--source", f"oci:{place}", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, env=os.environ | environment)
    if done.returncode not in (0, 1):
        raise subprocess.CalledProcessError(done.returncode, command)
    return done.stdout


def _cold(place: Path, environment: dict[str, str]) -> float:
    os.sync()
    _DROP_CACHES.write_text("3\n")
    return seconds(lambda: _locate(place, environment, "log4j-core-*.jar"))


def _arrival(work: Path, place: Path, environment: dict[str, str]) -> float:
    """The seconds until an image is found that is new in the store, as is its upper layer of 12,500 entries."""
    index, kept = place / "index.json", work / "locate-cache-kept"
    before = index.read_bytes()
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(work / "locate-cache", kept)
    # as copies have other stamps, they are compared once
    _locate(place, {"XDG_CACHE_HOME": str(kept)}, "log4j")
    try:
        new = _layer(work / "locate-layers", sum(_GROUPS), "arrived")
        layers = [_layer(work / "locate-layers", number) for number in range(sum(_GROUPS))]
        layout(place, [*_images(layers), [layers[0], new]])
        found = []
        taken = seconds(lambda: found.append(_locate(place, {"XDG_CACHE_HOME": str(kept)}, "-c", "/arrived")))
        if found != [b"1\n"]:
            raise RuntimeError("the new image is not found")
        return taken
    finally:
        index.write_bytes(before)
        shutil.rmtree(kept)


def _compared(place: Path, environment: dict[str, str]) -> Row:
    """Whether `imgfs find` finds the same."""
    patterns = ("log4j-core-*.jar", "*.conf", "module_7_*")
    names = [f"image-{number}" for number in (0, 333, 999)]
    found: dict[tuple[str, str], set[str]] = {}
    for pattern in patterns:
        for line in _locate(place, environment, "--json", pattern).splitlines():
            hit = json.loads(line)
            for image in hit["images"]:
                found.setdefault((image.rpartition(":")[2], pattern), set()).add(hit["path"])
    same = True
    for name in names:
        for pattern in patterns:
            command = [*_IMGFS, "find", f"oci:{place}:{name}", pattern]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=False, env=os.environ | environment)
            same &= set(done.stdout.decode().splitlines()) == found.get((name, pattern), set())
    return Row("three images and patterns, as imgfs find", "same" if same else "DIFFERENT", "same", same)


def store(work: Path) -> Path:
    """An OCI layout with the images."""
    place = work / "locate-store"
    if not (place / "index.json").exists():
        layers = [_layer(work / "locate-layers", number) for number in range(sum(_GROUPS))]
        layout(place, list(_images(layers)))
    return place


def _images(layers: Sequence[Blob]) -> Iterator[Sequence[Blob]]:
    starts = [end - size for size, end in zip(_GROUPS, accumulate(_GROUPS), strict=True)]
    for number in range(_IMAGES):
        yield [layers[start + number % size] for start, size in zip(starts, _GROUPS, strict=True)]


def _layer(folder: Path, number: int, extra: str = "") -> Blob:
    """A layer of empty files, a few of which all layers have, and what hides some of the layer below."""
    path, known = folder / f"{number}.tar.gz", folder / f"{number}.json"
    if not known.exists():
        folder.mkdir(exist_ok=True)
        members = [*_members(number), *([_header(extra, 0o644, b"0", number)] if extra else [])]
        tar = b"".join(members) + bytes(1024)
        path.write_bytes(gzip.compress(tar, 1, mtime=0))
        digests = (hashlib.sha256(data).hexdigest() for data in (path.read_bytes(), tar))
        known.write_text(json.dumps([f"sha256:{digest}" for digest in digests]))
    return Blob(path, *json.loads(known.read_text()))


def _members(number: int) -> Iterator[bytes]:
    left = _ENTRIES
    package = 0
    while left > 0:
        folder = f"opt/part-{number % 7}/package-{number}-{package}"
        yield _header(f"{folder}/", 0o755, b"5", package)
        for file in range(min(_FOLDER, left - 1)):
            mode = 0o4755 if not (package + file) % 5000 else 0o644
            yield _header(
                f"{folder}/module_{file}_{(number * 7919 + file * 31) % 9973}.py", mode, b"0", package
            )
        left -= _FOLDER + 1
        package += 1
    if not number % 10:
        yield _header(f"usr/share/java/log4j-core-2.{number % 17}.jar", 0o644, b"0", number)
    yield _header(f"etc/app-{number % 40}.conf", 0o644, b"0", number)
    yield _header(f"etc/.wh.app-{(number + 1) % 40}.conf", 0o644, b"0", number)


def _header(name: str, mode: int, kind: bytes, seconds: int) -> bytes:
    """The header of a member without content. Format: POSIX ustar."""
    head = b"%-100b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        name.encode().ljust(100, b"\0"),
        mode,
        seconds % 3 * 1000,
        0,
        0,
        1_700_000_000 + seconds,
    )
    tail = kind.ljust(101, b"\0") + b"ustar\00000"
    checksum = sum(head) + 8 * 32 + sum(tail)
    return (head + b"%06o\0 " % checksum + tail).ljust(512, b"\0")
