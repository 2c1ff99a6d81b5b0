"""Root file systems, looked through and read, against ratarmount on the same tar, and squashfuse and bindfs on the same
tree.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

from tests.bench import material, rivals
from tests.bench.report import Row, alternating, limit_row, ratio_row, seconds
from tests.tools import require_tool

ENTRIES, _LARGEST = 66_000, 1 << 20
_IMGFS = (sys.executable, "-m", "imgfs")
SMALL_FILES = "usr/include"
_BY_PATH, _INSIDE = "by absolute path", "from inside"
_WALKS = (("find",), ("ls", "-lR"), ("diff", "-rq"))
"""What is run on `SMALL_FILES`, by absolute path and from inside; diff with the same files on a disk."""


def run(work: Path, repeats: int) -> Sequence[Row]:
    """All rows. Each program starts anew for each run, with what it remembers of the tar in place."""
    ratarmount = rivals.environment(work) / "ratarmount"
    blob = material.layer(material.gzipped(small_files(work / "tree.tar")))
    layout = material.layout(work / "tree", [[blob]])
    unpacked = unpack(work / "tree.tar", work / "tree-unpacked")
    image = pack_squashfs(unpacked, work / "tree.squashfs")
    cache = {"XDG_CACHE_HOME": str(work / "tree-cache")}
    subprocess.run([*_IMGFS, "index", str(layout)], check=True, env=os.environ | cache)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        top = Path(folder)

        @contextmanager
        def imgfs(options: str = "") -> Iterator[Path]:
            with mounted([*_IMGFS, "mount", "-o", options, str(layout), str(top)], top, cache):
                (name,) = os.listdir(top / "images")
                yield top / "images" / name / "rootfs"

        index = work / "tree.sqlite"
        ratar = partial(mounted, [str(ratarmount), "--index-file", str(index), str(blob.path), str(top)], top)
        squash = partial(mounted, [require_tool("squashfuse_ll"), str(image), str(top)], top)
        bind = partial(mounted, [require_tool("bindfs"), str(unpacked), str(top)], top)

        mounts: dict[str, Callable[[], object]] = {
            "imgfs": imgfs,
            "ratarmount": ratar,
            "squashfuse_ll": squash,
        }
        every: dict[str, Callable[[], object]] = {
            **mounts,
            "imgfs -o noxattr": partial(imgfs, "noxattr"),
            "bindfs": bind,
        }
        with ratar():
            pass  # makes its index
        finds = alternating({name: _timed(mount, _find) for name, mount in mounts.items()}, repeats)
        reads = alternating({name: _timed(mount, _read) for name, mount in mounts.items()}, repeats)
        return [
            ratio_row(
                f"find over {ENTRIES} entries, to ratarmount", finds["imgfs"], finds["ratarmount"], 0.5
            ),
            Row("the same, squashfuse_ll", f"{finds['squashfuse_ll']:.2f} s"),
            ratio_row(f"tar of {SMALL_FILES}, to ratarmount", reads["imgfs"], reads["ratarmount"], 0.5),
            ratio_row(f"tar of {SMALL_FILES}, to squashfuse_ll", reads["imgfs"], reads["squashfuse_ll"], 1.3),
            *_walks(every, unpacked, repeats),
            _memory(layout, top, cache),
        ]


def _walks(mounts: Mapping[str, Callable[[], object]], unpacked: Path, repeats: int) -> Iterator[Row]:
    """How long walks take, which ask for the attributes of every file."""
    for command in _WALKS:
        ways = {
            "by absolute path": partial(_walk, command, unpacked, is_inside=False),
            "from inside": partial(_walk, command, unpacked, is_inside=True),
        }
        runs = {
            (mounted, way): _timed(mount, work)
            for mounted, mount in mounts.items()
            for way, work in ways.items()
        }
        found = alternating(runs, repeats)
        by_path, inside = (found["imgfs", way] for way in ways)
        name = " ".join((*command, SMALL_FILES))
        yield ratio_row(f"{name} by absolute path, to from inside", by_path, inside, 1.1)
        for mounted in list(mounts)[1:]:
            yield Row(f"the same, {mounted}", " to ".join(f"{found[mounted, way]:.2f} s" for way in ways))


def _walk(command: Sequence[str], unpacked: Path, root: Path, *, is_inside: bool) -> object:
    places = [SMALL_FILES if is_inside else str(root / SMALL_FILES)]
    if command[0] == "diff":
        places.append(str(unpacked / SMALL_FILES))
    return subprocess.run([*command, *places], cwd=root, stdout=subprocess.DEVNULL, check=True)


def _find(root: Path) -> object:
    done = subprocess.run(["find", str(root)], capture_output=True, check=True)
    if done.stdout.count(b"\n") < ENTRIES:
        raise RuntimeError("not everything was found")
    return done


def _read(root: Path) -> object:
    reading = subprocess.Popen(["tar", "cf", "-", "-C", str(root), SMALL_FILES], stdout=subprocess.PIPE)
    return subprocess.run(["cat"], stdin=reading.stdout, stdout=subprocess.DEVNULL, check=True)


def _timed(mount: Callable[[], object], work: Callable[[Path], object]) -> Callable[[], float]:
    def run() -> float:
        with mount() as root:  # type: ignore[attr-defined]
            return seconds(lambda: work(root))

    return run


def _memory(layout: Path, top: Path, cache: dict[str, str]) -> Row:
    """What the daemon takes more once all entries are known to the kernel."""
    command = [*_IMGFS, "mount", "-f", str(layout), str(top)]
    process = subprocess.Popen(command, env=os.environ | cache)
    try:
        while not os.path.ismount(top):
            time.sleep(0.02)
        (name,) = os.listdir(top / "images")
        before = _resident(process.pid)
        _find(top / "images" / name / "rootfs")
        more = _resident(process.pid) - before
    finally:
        process.terminate()
        process.wait()
    return limit_row("memory for an entry", more / ENTRIES, 400, "bytes")


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def mounted(command: Sequence[str], top: Path, environment: dict[str, str] | None = None) -> Iterator[Path]:
    """What a command mounts at `top`, which is yielded."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | (environment or {}))
    try:
        yield top
    finally:
        subprocess.run(["umount", str(top)], check=True)


def small_files(path: Path) -> Path:
    """Small and middling files of this machine's, those of `SMALL_FILES` among them."""
    if not path.exists():
        partial = path.with_suffix(".partial")
        with tarfile.open(partial, "w") as archive:
            for name in islice(_names(), ENTRIES):
                archive.add(name, name, recursive=False)
        partial.rename(path)
    return path


def _names() -> Iterator[str]:
    seen = set()
    for start in (f"/{SMALL_FILES}", "/usr/share", "/usr/lib", "/usr"):
        for folder, folders, files in os.walk(start):
            folders.sort()
            for path in sorted([folder, *(os.path.join(folder, name) for name in files)]):
                status = os.lstat(path)
                if path not in seen and status.st_size <= _LARGEST and os.access(path, os.R_OK):
                    seen.add(path)
                    yield path


def unpack(tar: Path, folder: Path) -> Path:
    if not folder.exists():
        unfinished = folder.with_suffix(".partial")
        unfinished.mkdir()
        subprocess.run(["tar", "xf", str(tar), "-C", str(unfinished)], check=True)
        unfinished.rename(folder)
    return folder


def pack_squashfs(unpacked: Path, path: Path) -> Path:
    if not path.exists():
        subprocess.run(
            [require_tool("mksquashfs"), str(unpacked), str(path), "-quiet", "-no-progress"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return path
