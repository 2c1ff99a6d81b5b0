"""`images/<id>/`: what is known of one image."""

import datetime
from collections.abc import Callable, Iterator

from imgfs.store import Image
from imgfs.view.context import Context
from imgfs.view.flat_tar import FlatTarFile
from imgfs.view.history import HistoryFile
from imgfs.view.image_origin import Home
from imgfs.view.layers import LayersDirectory
from imgfs.view.node import Directory, Node
from imgfs.view.relatives import ChildrenDirectory
from imgfs.view.rootfs_tar import RootfsTar
from imgfs.view.texts import LiveText, TextFile
from imgfs.view.trees import TreeTable


class ImageDirectory(Directory):
    """The directory of `image`, wherever that is. Its files are made when they are looked at."""

    def __init__(self, key: str, image: Image, context: Context) -> None:
        self.key = key
        self.mtime_ns = _nanoseconds(image.created)
        self._image = image
        self._home = Home(image.id, context.union)
        self._context = context
        self._entries: dict[bytes, Callable[[], Node | None]] = {
            b"config.json": self._config,
            b"parent": self._parent,
            b"children": self._children,
            b"history": self._history,
            b"tags": self._tags,
            b"layers": self._layers,
            b"rootfs": self._rootfs,
            b"rootfs.tar": self._rootfs_tar,
            b"flat.tar": self._flat_tar,
            b"manifest.json": self._manifest,
        }

    def lookup(self, name: bytes) -> Node | None:
        make = self._entries.get(name)
        return make() if make else None

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        for name, make in self._entries.items():
            node = make()
            if node is not None:
                yield name, node

    def _live(self, name: str, make: Callable[[], str]) -> Node:
        return LiveText(
            f"{self.key}/{name}", lambda: make().encode("utf-8", "surrogateescape"), self.mtime_ns
        )

    def _config(self) -> Node:
        return TextFile(f"{self.key}/config.json", self._image.raw_config, self.mtime_ns)

    def _manifest(self) -> Node | None:
        def content() -> bytes | None:
            last = self._home.known_source
            sources = self._context.union.snapshot.sources.get(self._image.id) or ([last] if last else [])
            found = (source.manifest(self._image.id) for source in sources)
            return next((manifest for manifest in found if manifest is not None), None)

        # live, as the same image may come anew with its layers stored otherwise
        key = f"{self.key}/manifest.json"
        return None if content() is None else LiveText(key, lambda: content() or b"", self.mtime_ns)

    def _parent(self) -> Node:
        def text() -> str:
            parent = self._context.union.snapshot.parents.get(self._image.id)
            return f"{parent}\n" if parent else ""

        return self._live("parent", text)

    def _children(self) -> Node:
        union = self._context.union
        return ChildrenDirectory(f"{self.key}/children", self._image.id, union, self.mtime_ns)

    def _history(self) -> Node:
        return HistoryFile(f"{self.key}/history", self._image, self._home, self.mtime_ns)

    def _tags(self) -> Node:
        def text() -> str:
            return "".join(f"{name}\n" for name in self._context.union.snapshot.tags_of(self._image.id))

        return self._live("tags", text)

    def _layers(self) -> Node:
        trees = self._context.trees
        return LayersDirectory(f"{self.key}/layers", self._image, self._home, trees, self.mtime_ns)

    def _tree(self) -> TreeTable:
        return self._context.trees.table(f"{self.key}/rootfs", self._home, self.mtime_ns)

    def _rootfs(self) -> Node:
        return self._tree().top()

    def _rootfs_tar(self) -> Node:
        key, verbatim = f"{self.key}/rootfs.tar", self._context.options.verbatim_tar
        return RootfsTar(key, self._home, verbatim, self.mtime_ns)

    def _flat_tar(self) -> Node:
        return FlatTarFile(f"{self.key}/flat.tar", self._tree(), self.mtime_ns)


def _nanoseconds(when: datetime.datetime | None) -> int:
    return int(when.timestamp()) * 1_000_000_000 if when else 0
