"""`images/<id>/`: what is known of one image."""

import datetime
from collections.abc import Callable, Iterator, Mapping

from imgfs.sources import Source
from imgfs.sources.union import Union
from imgfs.store import Image
from imgfs.view.node import Directory, Node
from imgfs.view.options import ViewOptions
from imgfs.view.relatives import ChildrenDirectory
from imgfs.view.rootfs_tar import RootfsTar
from imgfs.view.texts import TextFile


class ImageDirectory(Directory):
    """The directory of `image`, its layers read from `source`. Its files are made when they are looked at."""

    def __init__(self, key: str, image: Image, source: Source, union: Union, options: ViewOptions) -> None:
        self.key = key
        self.mtime_ns = _nanoseconds(image.created)
        self._image = image
        self._source = source
        self._union = union
        self._options = options
        self._entries: Mapping[bytes, Callable[[], Node]] = {
            b"config.json": self._config,
            b"parent": self._parent,
            b"children": self._children,
            b"rootfs.tar": self._rootfs_tar,
        }

    def lookup(self, name: bytes) -> Node | None:
        make = self._entries.get(name)
        return make() if make else None

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        for name, make in self._entries.items():
            yield name, make()

    def _config(self) -> Node:
        return TextFile(f"{self.key}/config.json", self._image.raw_config, self.mtime_ns)

    def _parent(self) -> Node:
        parent = self._union.snapshot.parents.get(self._image.id)
        return TextFile(f"{self.key}/parent", f"{parent}\n".encode() if parent else b"", self.mtime_ns)

    def _children(self) -> Node:
        return ChildrenDirectory(f"{self.key}/children", self._image.id, self._union, self.mtime_ns)

    def _rootfs_tar(self) -> Node:
        key, verbatim = f"{self.key}/rootfs.tar", self._options.verbatim_tar
        return RootfsTar(key, self._image.id, self._source.store, verbatim, self.mtime_ns)


def _nanoseconds(when: datetime.datetime | None) -> int:
    return int(when.timestamp()) * 1_000_000_000 if when else 0
