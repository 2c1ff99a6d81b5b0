"""The files that the kernel mounts images from, in a directory of the mount that is not listed.

Tried by the tests of `kernel_mounts`.
"""

import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock

from imgfs.view import Directory, File, Node

BACKING = b".erofs"


class BackingFiles(Directory):
    """The files of images that are being mounted: what is mounted keeps them open, and needs no names for them."""

    key = f"/{BACKING.decode()}"
    mode = stat.S_IFDIR | 0o500

    def __init__(self) -> None:
        self._offered: list[Mapping[bytes, File]] = []
        self._lock = Lock()

    def lookup(self, name: bytes) -> Node | None:
        return next((files[name] for files in self._offered if name in files), None)

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        yield from ()

    @contextmanager
    def offering(self, files: Sequence[File]) -> Iterator[list[str]]:
        """Have files in the directory; yields their names. May be called by any thread."""
        names = [file.key.rpartition("/")[2] for file in files]
        offered = {name.encode(): file for name, file in zip(names, files, strict=True)}
        with self._lock:
            self._offered = [*self._offered, offered]
        try:
            yield names
        finally:
            with self._lock:
                self._offered = [each for each in self._offered if each is not offered]
