"""`imgfs locate` over 1,000 images made of 400 distinct layers with 5 million distinct entries."""

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from tests.bench.material import Blob, layout

_GROUPS = (5, 10, 20, 30, 40, 50, 55, 60, 65, 65)
"""How many layers there are at each height of the stacks: the higher, the fewer images share one."""
_ENTRIES = 12_500  # of a layer
_IMAGES = 1_000
_FOLDER = 25  # files in each directory


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


def _layer(folder: Path, number: int) -> Blob:
    """A layer of empty files, a few of which all layers have, and what hides some of the layer below."""
    path, known = folder / f"{number}.tar.gz", folder / f"{number}.json"
    if not known.exists():
        folder.mkdir(exist_ok=True)
        tar = b"".join(_members(number)) + bytes(1024)
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
