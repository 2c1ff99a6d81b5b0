"""Root file systems that the kernel shows itself, against overlayfs as podman mounts the same image, against FUSE, and
against other programs that mount the same tree.

Warm is a further run of a command in one mount. Cold is the first after mounting, with what imgfs keeps in its cache in
place; with `-o kernel` that makes the metadata for the kernel. FUSE and other programs run all commands once, one after
the other in one mount, as some take half a minute.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from imgfs.blob import FileBlob
from imgfs.tar import scan_blob
from imgfs.tree import ErofsPlan, build_tree
from tests.bench import material, rivals
from tests.bench.report import Row, alternating, limit_row, ratio_row, seconds
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
    f"diff -rq of {SMALL_FILES}": f"diff -rq {SMALL_FILES} $UNPACKED/{SMALL_FILES}",
    f"getcap -r of {ENTRIES} entries": "getcap -r .",
    f"tar c of {SMALL_FILES}": f"tar c {SMALL_FILES} | cat",
}
_LARGE = 1_430_000_000  # bytes, of an image with files of all sizes: the same as `index` takes
_WARM_TURNS, _COLD_TURNS = 5, 2  # for each repeat, as they are fast

Mounting = Callable[[], AbstractContextManager[Path]]


def run(work: Path, repeats: int) -> Sequence[Row]:
    """All rows. Wants root."""
    ratarmount = rivals.environment(work) / "ratarmount"
    tar = small_files(work / "tree.tar")
    blob = material.layer(material.gzipped(tar))
    layout = material.layout(work / "tree", [[blob]])
    unpacked = unpack(tar, work / "tree-unpacked")
    image = pack_squashfs(unpacked, work / "tree.squashfs")
    environment = os.environ | {"XDG_CACHE_HOME": str(work / "tree-cache"), "UNPACKED": str(unpacked)}
    subprocess.run([*_IMGFS, "index", layout], check=True, env=environment)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        top = Path(name)

        @contextmanager
        def imgfs(options: str) -> Iterator[Path]:
            subprocess.run([*_IMGFS, "mount", "-o", options, layout, top], check=True, env=environment)
            try:
                (image_id,) = os.listdir(top / "images")
                yield top / "images" / image_id / "rootfs"
            finally:
                subprocess.run([*_IMGFS, "umount", top], check=True)

        index = work / "tree.sqlite"
        ratar = partial(mounted, [str(ratarmount), "--index-file", str(index), str(blob.path), str(top)], top)
        squash = partial(mounted, [require_tool("squashfuse_ll"), str(image), str(top)], top)
        if not index.exists():
            with ratar():
                pass  # makes it
        kernel, fuse = partial(imgfs, "kernel"), partial(imgfs, "")
        others: dict[str, Mounting] = {"FUSE": fuse, "squashfuse_ll": squash, "ratarmount": ratar}
        return [
            *_metadata(material.real_tar(work / "layer.tar", _LARGE), tar),
            *_warm(kernel, partial(_overlay, work, layout, environment), others, environment, repeats),
            *_cold(kernel, fuse, environment, repeats),
        ]


def _metadata(large: Path, small: Path) -> Iterator[Row]:
    """How long making the metadata takes, and how large it is: of an image with files of all sizes, and the other."""
    for tar in (large, small):
        with FileBlob(tar) as blob:
            tree, size = build_tree(scan_blob(blob), tar.name), blob.size
        name = f"metadata of {len(tree)} entries"
        made = ErofsPlan(tree, with_layers=True).metadata.size
        taken = statistics.median(seconds(partial(ErofsPlan, tree, with_layers=True)) for _ in range(5))
        yield limit_row(name, taken * 1000, 1000, "ms")
        share = made / size * 100
        figure = f"{share:.2f} %: {made / 1e6:.1f} of {size / 1e6:.0f} MB"
        if tar is large:
            yield Row(f"{name}, to the image", figure, "under 1 %", share < 1)
        else:
            yield Row("the same, to the image, whose files are small", figure)


def _warm(
    kernel: Mounting,
    overlay: Mounting,
    others: dict[str, Mounting],
    environment: dict[str, str],
    repeats: int,
) -> Iterator[Row]:
    with kernel() as ours, overlay() as theirs:
        for text in _COMMANDS.values():
            for root in (ours, theirs):
                _seconds(text, root, environment)
        found = {
            name: alternating(
                {root: partial(_seconds, text, root, environment) for root in (ours, theirs)},
                repeats * _WARM_TURNS,
            )
            for name, text in _COMMANDS.items()
        }
    once: dict[str, list[str]] = {name: [] for name in _COMMANDS}
    for mount, mounting in others.items():
        with mounting() as root:
            for name, text in _COMMANDS.items():
                once[name].append(f"{mount} {_seconds(text, root, environment):.2f} s")
    for name in _COMMANDS:
        yield ratio_row(f"{name}, warm, to podman's mount", found[name][ours], found[name][theirs], 1.5, "ms")
        yield Row("the same, once", ", ".join(once[name]))


def _cold(kernel: Mounting, fuse: Mounting, environment: dict[str, str], repeats: int) -> Iterator[Row]:
    def run(text: str, mounting: Mounting) -> float:
        with mounting() as root:
            return _seconds(text, root, environment)

    for name, text in _COMMANDS.items():
        found = alternating(
            {mounting: partial(run, text, mounting) for mounting in (kernel, fuse)}, repeats * _COLD_TURNS
        )
        yield ratio_row(f"{name}, cold, to FUSE", found[kernel], found[fuse], 1, "ms")


@contextmanager
def _overlay(work: Path, layout: Path, environment: dict[str, str]) -> Iterator[Path]:
    """The image as podman mounts it, in whose store it remains."""
    folder = work / "podman"
    shutil.rmtree(folder / "r", ignore_errors=True)  # what a run that was killed has left
    with podman(folder, "overlay", shared=work) as engine:
        if not engine.images():
            archive = work / "tree-archive.tar"  # podman takes no layout whose path is no reference
            with archive.open("wb") as file:
                subprocess.run([*_IMGFS, "save", layout], stdout=file, check=True, env=environment)
            engine.command("pull", "-q", f"docker-archive:{archive}")
            archive.unlink()
        (image_id,) = engine.images()
        mounted_at = engine.mounted(image_id)
        try:
            yield mounted_at
        finally:
            engine.command("image", "unmount", "--force", image_id)


def _seconds(text: str, root: Path, environment: dict[str, str]) -> float:
    """How long a command takes in a root file system."""
    return seconds(
        lambda: subprocess.run(
            ["sh", "-c", f'cd "$0" && {text}', root], stdout=subprocess.DEVNULL, check=True, env=environment
        )
    )
