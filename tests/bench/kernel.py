"""Root file systems that the kernel shows itself, against overlayfs as podman mounts the same image, and against FUSE.

Warm is the second run of a command after mounting, cold the first, with what imgfs keeps in its cache in place; of cold
runs in `rootfs/` the first makes the metadata for the kernel.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

from tests.bench import material, rivals
from tests.bench.report import Row, alternating, ratio_row, seconds
from tests.bench.tree import (
    ENTRIES,
    SMALL_FILES,
    mounted,
    pack_squashfs,
    small_files,
    unpack,
)
from tests.engines.engine import podman
from tests.tools import require_tool

_IMGFS = (sys.executable, "-m", "imgfs")
_COMMANDS = {
    f"find over {ENTRIES} entries": "find .",
    f"ls -lR of {ENTRIES} entries": "ls -lR .",
    f"getcap -r of {ENTRIES} entries": "getcap -r .",
    f"diff -rq of {SMALL_FILES}": f"diff -rq {SMALL_FILES} $UNPACKED/{SMALL_FILES}",
    f"tar c of {SMALL_FILES}": f"tar c {SMALL_FILES} | cat",
}

Mounting = Callable[[], AbstractContextManager[Path]]


def run(work: Path, repeats: int) -> Sequence[Row]:
    """All rows. Wants root, and unpacks the image with podman into a store of its own."""
    ratarmount = rivals.environment(work) / "ratarmount"
    blob = material.layer(material.gzipped(small_files(work / "tree.tar")))
    layout = material.layout(work / "tree", [[blob]])
    unpacked = unpack(work / "tree.tar", work / "tree-unpacked")
    image = pack_squashfs(unpacked, work / "tree.squashfs")
    cache = {"XDG_CACHE_HOME": str(work / "tree-cache")}
    subprocess.run([*_IMGFS, "index", str(layout)], check=True, env=os.environ | cache)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder, top = Path(name), Path(name) / "mnt"
        top.mkdir()
        command = partial(_timed, unpacked)

        @contextmanager
        def imgfs(options: str) -> Iterator[Path]:
            subprocess.run([*_IMGFS, "mount", "-o", options, layout, top], check=True, env=os.environ | cache)
            try:
                (image_id,) = os.listdir(top / "images")
                yield top / "images" / image_id / "rootfs"
            finally:
                subprocess.run([*_IMGFS, "umount", top], check=True)

        index = work / "tree.sqlite"
        ratar = partial(mounted, [str(ratarmount), "--index-file", str(index), str(blob.path), str(top)], top)
        squash = partial(mounted, [require_tool("squashfuse_ll"), str(image), str(top)], top)

        with ratar():
            pass  # makes its index
        archive = folder / "image.tar"  # podman takes no layout whose path is no reference
        with archive.open("wb") as file:
            subprocess.run([*_IMGFS, "save", layout], stdout=file, check=True, env=os.environ | cache)
        ours: dict[str, Mounting] = {"kernel": partial(imgfs, "kernel"), "FUSE": partial(imgfs, "")}
        with podman(folder / "podman", "overlay") as engine:
            engine_id = engine.command("pull", "-q", f"docker-archive:{archive}").strip()
            overlay = engine.mounted(engine_id)
            try:
                theirs: dict[str, Mounting] = {
                    "podman": lambda: nullcontext(overlay),
                    "squashfuse_ll": squash,
                    "ratarmount": ratar,
                }
                return [*_warm({**ours, **theirs}, command, repeats), *_cold(ours, command, repeats)]
            finally:
                engine.command("image", "unmount", "--force", engine_id)


def _warm(mounts: Mapping[str, Mounting], command: Callable[..., float], repeats: int) -> Iterator[Row]:
    for name, text in _COMMANDS.items():
        found = alternating(
            {mount: partial(command, mounting, text, warm=True) for mount, mounting in mounts.items()},
            repeats,
        )
        yield ratio_row(f"{name}, warm, to podman's mount", found["kernel"], found["podman"], 1.5, "ms")
        others = (
            f"{mount} {found[mount] * 1000:.0f} ms" for mount in mounts if mount not in ("kernel", "podman")
        )
        yield Row("the same", ", ".join(others))


def _cold(mounts: Mapping[str, Mounting], command: Callable[..., float], repeats: int) -> Iterator[Row]:
    for name, text in _COMMANDS.items():
        found = alternating(
            {mount: partial(command, mounting, text) for mount, mounting in mounts.items()}, repeats
        )
        yield ratio_row(f"{name}, cold, to FUSE", found["kernel"], found["FUSE"], 1, "ms")


def _timed(unpacked: Path, mounting: Mounting, text: str, *, warm: bool = False) -> float:
    """How long a command takes in a root file system."""
    environment = os.environ | {"UNPACKED": str(unpacked)}
    with mounting() as root:

        def work() -> object:
            return subprocess.run(
                ["sh", "-c", text], cwd=root, stdout=subprocess.DEVNULL, check=True, env=environment
            )

        if warm:
            work()
        return seconds(work)
