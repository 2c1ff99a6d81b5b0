"""A file system whose device fails: `python -m tests.trials.failing FOLDER TOP SWITCH`, in front.

Shows `FOLDER` at `TOP`, and says "ready" on standard output. While the file `SWITCH` exists, reads of the files whose
names are its lines fail with EIO, except for the first half of each file.
"""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgfs.blob import Blob
from imgfs.mount import parse_options, serve
from imgfs.view import File, Node
from tests.mount.trees import Folder


class _Content(Blob):
    def __init__(self, path: Path, switch: Path) -> None:
        self._path = path
        self._switch = switch

    @property
    def size(self) -> int:
        return self._path.stat().st_size

    def pread(self, size: int, offset: int) -> bytes:
        failing = self._switch.read_text().split() if self._switch.exists() else []
        if self._path.name in failing and offset + size > self.size // 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        with self._path.open("rb") as file:
            return os.pread(file.fileno(), size, offset)


class _File(File):
    mutable = True  # so that the kernel reads again what it has read before

    def __init__(self, path: Path, switch: Path) -> None:
        self.key = str(path)
        self._content = _Content(path, switch)

    @property
    def known_size(self) -> int:
        return self._content.size

    def open(self) -> Blob:
        return self._content


def _tree(path: Path, switch: Path) -> Node:
    if not path.is_dir():
        return _File(path, switch)
    return Folder(str(path), {os.fsencode(child.name): _tree(child, switch) for child in path.iterdir()})


def main(folder: Path, top: Path, switch: Path) -> None:
    tree = _tree(folder, switch)
    assert isinstance(tree, Folder)
    serve(tree, str(top), parse_options(""), ready=lambda: print("ready", flush=True))


@contextmanager
def failing_device(folder: Path, top: Path, switch: Path) -> Iterator[None]:
    """`folder` shown at `top`, as above, for the length of a `with`."""
    command = [sys.executable, "-m", "tests.trials.failing", *map(str, (folder, top, switch))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.terminate()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
