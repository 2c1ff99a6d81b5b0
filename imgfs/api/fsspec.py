"""Images for fsspec: `imgfs://IMAGE/PATH`, where IMAGE is as on the command line, with `/` in it as `%2F`.

    >>> with fsspec.open("imgfs://debian:12/etc/os-release") as file:
    ...     print(file.read())

fsspec finds it by the entry point of the package.
"""

import errno
import os
import stat
from contextlib import ExitStack
from threading import Lock
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

from fsspec import AbstractFileSystem

from imgfs.api.opened import OpenImage, open_image
from imgfs.api.path import ImagePath

_TYPES = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}


class ImageFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec ships no type information
    """The root file systems of images, to be read. Images are opened once each, and closed by `close`."""

    protocol = "imgfs"
    cachable = False
    root_marker = ""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._stack = ExitStack()
        self._images: dict[str, OpenImage] = {}
        self._opening = Lock()

    def close(self) -> None:
        """Close the images."""
        self._stack.close()
        self._images.clear()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return os.fspath(path).removeprefix("imgfs://").rstrip("/")

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """What is known of a path: name, size, type, and islink, mode, uid, gid, mtime as of local files."""
        path = self._strip_protocol(path)
        return self._described(path, self._path(path))

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """What is in a directory."""
        path = self._strip_protocol(path)
        place = self._path(path)
        if place.is_dir():
            found = [self._described(f"{path}/{child.name}", child) for child in place.iterdir()]
        else:
            found = [self._described(path, place)]
        return found if detail else [each["name"] for each in found]

    def _open(self, path: str, mode: str = "rb", **options: Any) -> BinaryIO:
        if mode != "rb":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return cast(BinaryIO, self._path(self._strip_protocol(path)).open("rb"))

    def _path(self, path: str) -> ImagePath:
        image, _, inside = path.partition("/")
        with self._opening:
            if image not in self._images:
                self._images[image] = self._stack.enter_context(open_image(unquote(image)))
        return self._images[image].rootfs / inside

    def _described(self, path: str, place: ImagePath) -> dict[str, Any]:
        link = place.lstat()
        is_link = stat.S_ISLNK(link.st_mode)
        found = place.stat() if is_link and place.exists() else link
        return {
            "name": path,
            "size": found.st_size,
            "type": _TYPES.get(stat.S_IFMT(found.st_mode), "other"),
            "islink": is_link,
            "mode": found.st_mode,
            "uid": found.st_uid,
            "gid": found.st_gid,
            "mtime": found.st_mtime,
        } | ({"destination": place.readlink()} if is_link else {})
