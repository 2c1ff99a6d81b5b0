"""A path in an image, with the methods of pathlib.Path that read."""

import io
import os
import stat
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, Self

from imgfs.globs import glob_matcher
from imgfs.rootfs import RootFS, Stat


class ImagePath(os.PathLike[str]):
    """A path in the root file system of an image, as pathlib's of a disk; links are followed inside the image.

    >>> with imgfs.open_image("debian:12") as image:
    ...     release = (image.rootfs / "etc/os-release").read_text()
    ...     configs = [str(path) for path in image.rootfs.glob("etc/*.conf")]

    Methods raise OSError as those of pathlib do, and ImgfsError if the layers cannot be read.
    """

    def __init__(self, root: RootFS, path: str | PurePosixPath = "/") -> None:
        self._root = root
        self._path = PurePosixPath("/", path)

    def __truediv__(self, name: str | PurePosixPath) -> Self:
        return type(self)(self._root, self._path / name)

    def joinpath(self, *names: str | PurePosixPath) -> Self:
        """The path with others behind it."""
        return type(self)(self._root, self._path.joinpath(*names))

    def __fspath__(self) -> str:
        return str(self._path)

    def __str__(self) -> str:
        return str(self._path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._path)!r} of {self._root.name})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImagePath) and (self._root, self._path) == (other._root, other._path)

    def __hash__(self) -> int:
        return hash((self._root, self._path))

    def __lt__(self, other: "ImagePath") -> bool:
        return self._path < other._path

    @property
    def name(self) -> str:
        """The last part."""
        return self._path.name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return self._path.stem

    @property
    def suffix(self) -> str:
        """The suffix of the last part, with the dot."""
        return self._path.suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the path, the root first."""
        return self._path.parts

    @property
    def parent(self) -> Self:
        """The directory that it is in, by its text."""
        return type(self)(self._root, self._path.parent)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """What is known of it; images record one time, that of its content, and no device that it is on."""
        return _stat_result(self._root.stat(self._path, follow=follow_symlinks))

    def lstat(self) -> os.stat_result:
        """What is known of it, or of the symbolic link that it is."""
        return self.stat(follow_symlinks=False)

    def xattrs(self, *, follow_symlinks: bool = True) -> dict[str, bytes]:
        """Its extended attributes."""
        found = self._root.stat(self._path, follow=follow_symlinks).xattrs
        return {os.fsdecode(name): value for name, value in found.items()}

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is something."""
        return self._root.exists(self._path, follow=follow_symlinks)

    def is_dir(self) -> bool:
        """Whether it is a directory, or a symbolic link to one."""
        return self.exists() and stat.S_ISDIR(self.stat().st_mode)

    def is_file(self) -> bool:
        """Whether it is a regular file, or a symbolic link to one."""
        return self.exists() and stat.S_ISREG(self.stat().st_mode)

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return self.exists(follow_symlinks=False) and stat.S_ISLNK(self.lstat().st_mode)

    def readlink(self) -> str:
        """Where the symbolic link leads, as it says that itself."""
        return self._root.readlink(self._path)

    def iterdir(self) -> Iterator[Self]:
        """The paths in a directory."""
        for name in self._root.listdir(self._path):
            yield self / name

    def glob(self, pattern: str) -> Iterator[Self]:
        """The paths below that match a pattern: `*` and `?` within a name, `**` for any number of directories."""
        matches = glob_matcher(pattern)
        for path in self._below():
            if matches(str(path._path.relative_to(self._path))):
                yield path

    def rglob(self, pattern: str) -> Iterator[Self]:
        """As `glob` of the pattern with `**/` before it."""
        return self.glob(f"**/{pattern}")

    def _below(self) -> Iterator[Self]:
        waiting = [iter(self.iterdir())] if self.is_dir() else []
        while waiting:
            path = next(waiting[-1], None)
            if path is None:
                waiting.pop()
                continue
            yield path
            if stat.S_ISDIR(path.lstat().st_mode):
                waiting.append(iter(path.iterdir()))

    def open(
        self, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None
    ) -> IO:  # type: ignore[type-arg]  # bytes or str, as of pathlib's
        """The file, to be read; `mode` is "r" or "rb"."""
        if mode not in ("r", "rt", "rb", "br"):
            raise ValueError(f"images are only read: mode {mode!r}")
        file = self._root.open(self._path)
        return file if "b" in mode else io.TextIOWrapper(file, encoding=encoding or "utf-8", errors=errors)

    def read_bytes(self) -> bytes:
        """All bytes of the file."""
        with self._root.open(self._path) as file:
            return file.read()

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """All of the file as text."""
        return self.read_bytes().decode(encoding, errors)


def _stat_result(found: Stat) -> os.stat_result:
    seconds = found.mtime_ns / 1e9
    whole = found.mtime_ns // 1_000_000_000
    visible = (found.mode, found.inode, 0, found.links, found.uid, found.gid, found.size, *[whole] * 3)
    more = {f"st_{kind}time": seconds for kind in "amc"} | {
        f"st_{kind}time_ns": found.mtime_ns for kind in "amc"
    }
    device = os.makedev(*found.device) if found.device else 0
    return os.stat_result(
        visible, more | {"st_blksize": 4096, "st_blocks": -(-found.size // 512), "st_rdev": device}
    )
