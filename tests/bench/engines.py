"""Reading an image of Docker in place, against `docker save` of it."""

import os
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.report import Row, alternating, command, limit_row, ratio_row, seconds
from tests.engines.engine import Docker, running_docker

_SIZE, _FILES = 1_050_000_000, 30_500
_IMGFS = (sys.executable, "-m", "imgfs")


def run(work: Path, repeats: int) -> Sequence[Row]:
    """All rows. Runs a dockerd of its own, so it wants root, and builds an image of 1 GB in it."""
    with tempfile.TemporaryDirectory(prefix="imgfs-bench-") as name:
        folder = Path(name)
        with running_docker(folder, "overlay2") as docker:
            image = _make_image(docker, folder / "context")
            stats: list[float] = []

            def read() -> float:
                with _mounted(docker, folder / "mnt") as top:
                    path = top / "images" / image / "rootfs.tar"
                    stats.append(seconds(lambda: path.stat()))
                    return command("cat", path)()

            times = alternating({"cat": read, "save": command(*docker.client, "save", "bench:1")}, repeats)
    return [
        limit_row("first stat of rootfs.tar, the slowest", max(stats) * 1000, 1000, "ms"),
        ratio_row("cat rootfs.tar of a Docker image, to docker save", times["cat"], times["save"], 0.25),
    ]


@contextmanager
def _mounted(docker: Docker, top: Path) -> Iterator[Path]:
    top.mkdir(exist_ok=True)
    subprocess.run([*_IMGFS, "mount", docker.source, top], check=True)
    try:
        yield top
    finally:
        subprocess.run([*_IMGFS, "umount", top], check=True)


def _make_image(docker: Docker, context: Path) -> str:
    """Build an image of two layers of this machine's own files; answers the hex of its ID."""
    context.mkdir()
    files = _choose()
    for number in range(2):
        with tarfile.open(context / f"{number}.tar", "w") as archive:
            for path in files[number::2]:
                archive.add(path, path.lstrip("/"), recursive=False)
    docker.command("import", context / "0.tar", "bench:base")
    (context / "0.tar").unlink()
    return docker.build(context, "FROM bench:base\nADD 1.tar /second/\n", "bench:1")


def _choose() -> list[str]:
    """Files of /usr: the smallest, and of the largest as many as it takes."""
    found = []
    for folder, _, names in os.walk("/usr"):
        for name in names:
            status = os.lstat(os.path.join(folder, name))
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_size < _SIZE / 5:
                found.append((status.st_size, os.path.join(folder, name)))
    found.sort()
    chosen, left = found[:_FILES], found[_FILES:]
    size = sum(size for size, _ in chosen)
    while size < _SIZE and left:
        chosen.append(left.pop())
        size += chosen[-1][0]
    if size < _SIZE or len(chosen) < _FILES:
        raise RuntimeError(f"/usr has only {len(found)} files here")
    return [path for _, path in chosen]
