"""How fast an image of Docker is read in place, against `docker save` of it.

Makes an image of at least 1 GB and 30,000 files, of two layers, from this machine's own /usr, in a dockerd of its
own. Run it as root from anywhere: `.venv/bin/python scripts/bench_engines.py`. Ends with status 1 if a target is
missed: the first stat of rootfs.tar within 1 s, and reading it at least 4 times as fast as saving.
"""

import os
import stat
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.engines.engine import Docker, running_docker

SIZE, FILES, ROUNDS = 1_050_000_000, 30_500, 3
STAT_SECONDS, TIMES_FASTER = 1.0, 4.0
IMGFS = (sys.executable, "-m", "imgfs")


def main() -> int:
    """Measure and print; answers the exit status."""
    with tempfile.TemporaryDirectory(prefix="imgfs-bench-") as name:
        folder = Path(name)
        with running_docker(folder, "overlay2") as docker:
            image = make_image(docker, folder / "context")
            rounds = [measure(docker, image, folder) for _ in range(ROUNDS)]
    stats, reads, saves = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"first stat of rootfs.tar     {stats:6.2f} s")
    print(f"cat rootfs.tar               {reads:6.2f} s")
    print(f"docker save                  {saves:6.2f} s, {saves / reads:.1f} times as long")
    return 0 if stats < STAT_SECONDS and saves / reads >= TIMES_FASTER else 1


def make_image(docker: Docker, context: Path) -> str:
    """Build the image; answers the hex of its ID."""
    context.mkdir()
    files = list(choose())
    for number in range(2):
        with tarfile.open(context / f"{number}.tar", "w") as archive:
            for path in files[number::2]:
                archive.add(path, path.lstrip("/"), recursive=False)
    docker.command("import", context / "0.tar", "bench:base")
    (context / "0.tar").unlink()
    image = docker.build(context, "FROM bench:base\nADD 1.tar /second/\n", "bench:1")
    size = sum(os.lstat(path).st_size for path in files)
    print(f"image of {len(files)} files, {size / 1e9:.2f} GB, in two layers")
    return image


def choose() -> Iterator[str]:
    """Files of /usr: large ones that leave room for as many small ones as there are to be."""
    found = []
    for folder, _, names in os.walk("/usr"):
        for name in names:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                found.append((status.st_size, path))
    found.sort()
    small, large = found[:FILES], found[FILES:][::-1]
    if len(small) < FILES:
        sys.exit(f"/usr has only {len(small)} files here")
    missing = SIZE - sum(size for size, _ in small)
    yield from (path for _, path in small)
    for size, path in large:
        if missing <= 0:
            return
        if size < SIZE / 5:
            missing -= size
            yield path
    sys.exit("/usr is too small here")


def measure(docker: Docker, image: str, folder: Path) -> tuple[float, float, float]:
    """Seconds of the first stat, of reading, and of saving."""
    with open(os.devnull, "wb") as nothing:
        saving = timed(lambda: docker_save(docker, nothing.fileno()))
    top = folder / "mnt"
    top.mkdir(exist_ok=True)
    subprocess.run([*IMGFS, "mount", docker.source, top], check=True)
    try:
        path = top / "images" / image / "rootfs.tar"
        stating = timed(lambda: path.stat())
        reading = timed(lambda: subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True))
    finally:
        subprocess.run([*IMGFS, "umount", top], check=True)
    return stating, reading, saving


def docker_save(docker: Docker, output: int) -> None:
    """Have the image saved to a descriptor."""
    subprocess.run([*docker.client, "save", "bench:1"], stdout=output, check=True)


def timed(work: Callable[[], object]) -> float:
    """How many seconds something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
