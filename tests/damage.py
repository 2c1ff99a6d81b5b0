"""Ways in which files of a store may be damaged."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path


def flip(path: Path, bit: int | None = None) -> None:
    """Flip one bit of a file, by default one in its middle."""
    data = bytearray(path.read_bytes())
    if bit is None:
        bit = len(data) // 2 * 8 + 2
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Take the second half of a file away."""
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    """Leave nothing in a file."""
    os.truncate(path, 0)


def pipe(path: Path) -> None:
    """Put a FIFO in place of a file."""
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    """Put a directory in place of a file."""
    path.unlink()
    (path / "inside").mkdir(parents=True)


def link(path: Path) -> None:
    """Put a symbolic link to a file that is right in place of that file."""
    elsewhere = path.parent.parent / f"elsewhere-{path.name}"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def remove(path: Path) -> None:
    """Take a file away."""
    path.unlink()


def other(path: Path) -> None:
    """Put another file of the same folder in place of a file."""
    chosen = next(other for other in sorted(path.parent.iterdir()) if other != path)
    shutil.copyfile(chosen, path)


DAMAGES: dict[str, Callable[[Path], None]] = {
    function.__name__: function for function in (flip, cut, empty, pipe, directory, link, remove, other)
}
