"""`rootfs.tar` of an image whose layers are not compressed, read in order, against bindfs over the same tar.

The tar is in memory, and what the mounts gave the kernel before is dropped, so what is timed is the way through FUSE.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench import material
from tests.bench.report import Row, alternating, command, ratio_row
from tests.tools import require_tool

_SIZE = 1_090_000_000
_IMGFS = (sys.executable, "-m", "imgfs")


def run(work: Path, repeats: int) -> Sequence[Row]:
    """All rows. The mounts stay, so neither program's start is timed."""
    tar = material.real_tar(work / "plain.tar", _SIZE)
    with tar.open("rb") as file:
        plain = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    layout = material.layout(work / "plain", [[material.Blob(tar, plain, plain)]])
    cache = {"XDG_CACHE_HOME": str(work / "plain-cache")}
    subprocess.run([*_IMGFS, "index", layout], check=True, env=os.environ | cache)
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        source = folder / "source"
        source.mkdir()
        os.link(tar, source / tar.name)
        ours, theirs = folder / "imgfs", folder / "bindfs"
        with (
            _mounted([*_IMGFS, "mount", layout, ours], ours, cache),
            _mounted([require_tool("bindfs"), source, theirs], theirs, {}),
        ):
            (image,) = os.listdir(ours / "images")
            paths = {
                "imgfs": ours / "images" / image / "rootfs.tar",
                "bindfs": theirs / tar.name,
                "native": tar,
            }
            times = alternating({name: _reading(path, name) for name, path in paths.items()}, 2 * repeats)
    speeds = {name: tar.stat().st_size / taken / 1e6 for name, taken in times.items()}
    return [
        ratio_row("cat rootfs.tar, layers not compressed, to bindfs", times["imgfs"], times["bindfs"], 1),
        Row("the same, MB/s", ", ".join(f"{name} {speed:,.0f}" for name, speed in speeds.items())),
    ]


def _reading(path: Path, name: str) -> Callable[[], float]:
    def read() -> float:
        if name != "native":
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return command("cat", path)()

    return read


@contextmanager
def _mounted(arguments: Sequence[object], top: Path, environment: dict[str, str]) -> Iterator[None]:
    top.mkdir()
    subprocess.run(list(map(str, arguments)), check=True, env=os.environ | environment)
    try:
        yield
    finally:
        subprocess.run(["umount", top], check=True)
