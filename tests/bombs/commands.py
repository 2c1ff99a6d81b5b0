"""What is done with each bomb: every command that reads a source, and a mount that is looked through."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.bombs.measure import Measured, Running, measured

IMGFS = [sys.executable, "-m", "imgfs"]
COMMANDS: Mapping[str, list[str]] = {
    "ls": ["ls", "{source}"],
    "ls-all": ["ls", "--all", "{source}"],
    "tree": ["tree", "{source}"],
    "inspect": ["inspect", "--source", "{source}", "{image}"],
    "index": ["index", "{source}"],
    "verify": ["verify", "{source}"],
    "find": ["find", "--source", "{source}", "{image}", "f*"],
    "locate": ["locate", "--source", "{source}", "f*"],
    "which": ["which", "--source", "{source}", "{image}", "f1"],
    "diff": ["diff", "--source", "{source}", "good", "{image}"],
    "export": ["export", "--tar", "flat", "--source", "{source}", "{image}"],
    "load": ["load", "-i", "{source}", "--store", "{folder}/store"],
}
ALL = [*COMMANDS, "mount"]
MIB = 1 << 20
PEAK, CPU = 600 * MIB, 20.0


@dataclass(frozen=True)
class Row:
    """A line of the table: what was done with an input of `size` bytes, and what that took."""

    bomb: str
    size: int
    command: str
    took: Measured

    @property
    def fault(self) -> str:
        """What is wrong with it, empty if nothing is."""
        wrong = []
        if self.took.peak > PEAK:
            wrong.append("memory")
        if self.took.cpu > CPU:
            wrong.append("time")
        if self.took.status < 0 or "internal error" in self.took.errors or "Traceback" in self.took.errors:
            wrong.append(f"status {self.took.status}")
        return ", ".join(wrong)


def size_of(source: str) -> int:
    """The bytes of a source, as they are stored."""
    path = Path(source.partition(":")[2] or source)
    if path.is_file():
        return path.stat().st_size
    return sum(os.lstat(file).st_blocks * 512 for file in path.rglob("*") if file.is_file())


def rows(bomb: str, source: str, commands: list[str], folder: Path, seconds: int = 60) -> Iterator[Row]:
    """Do the commands with a source, each with an empty cache."""
    size = size_of(source)
    for command in commands:
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            environment = os.environ | {
                "XDG_CACHE_HOME": f"{temporary}/cache",
                "XDG_DATA_HOME": f"{temporary}/data",
            }
            if command == "mount":
                took = _mounted(source, Path(temporary), environment, seconds)
            else:
                names = {"source": source, "folder": temporary, "image": _image(source)}
                words = [word.format(**names) for word in COMMANDS[command]]
                took = measured([*IMGFS, *words], temporary, environment, seconds)
        yield Row(bomb, size, command, took)


def _image(source: str) -> str:
    """The image that commands look into, by its name."""
    return "bomb" if '"bomb"' in _index(source) or source.startswith("containers-storage") else "good"


def _index(source: str) -> str:
    index = Path(source.partition(":")[2], "index.json")
    return index.read_text() if index.is_file() and index.stat().st_size < MIB else ""


def _mounted(source: str, folder: Path, environment: Mapping[str, str], seconds: int) -> Measured:
    """What a daemon takes whose mount is looked through."""
    point = folder / "mount"
    point.mkdir()
    running = Running([*IMGFS, "mount", "-f", source, str(point)], str(folder), environment, seconds)
    try:
        while running.process.poll() is None and not os.path.ismount(point):
            with suppress(subprocess.TimeoutExpired):
                running.process.wait(0.1)
        if os.path.ismount(point):
            _look_through(point)
    finally:
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)
    return running.wait(600)  # it ends by itself once it took its time on the processor, which may be shared


_LOOK = """
cd "$1" || exit
ls tags images heads | tail -n 1
find tags | tail -n 1
for image in tags/good* tags/bomb* $(ls -d images/* | head -n 20); do
    ls -lR "$image"/ | tail -n 1
    stat "$image"/* "$image"/*/*
    head -c 1000000 "$image"/flat.tar | tail -c 1
    head -c 1000000 "$image"/rootfs.tar | tail -c 1
    cat "$image"/history "$image"/config.json | tail -c 1
done
"""


def _look_through(point: Path) -> None:
    with suppress(subprocess.TimeoutExpired):
        look = ["timeout", "-s", "KILL", "40", "sh", "-c", _LOOK, "sh", str(point)]
        subprocess.run(look, capture_output=True, timeout=60, check=False)
