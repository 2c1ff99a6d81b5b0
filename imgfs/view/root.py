"""The top of the mounted tree."""

from collections.abc import Iterator

from imgfs.cache import Cache
from imgfs.rootfs import TreeCache
from imgfs.sources.union import Union
from imgfs.view.image import Context, ViewOptions
from imgfs.view.images import ImagesDirectory
from imgfs.view.links import HeadsDirectory, TagsDirectory
from imgfs.view.node import Directory, Node
from imgfs.view.trees import Trees


class RootDirectory(Directory):
    """Everything that `union` has; `cache` keeps what takes long to work out."""

    key = "/"

    def __init__(self, union: Union, options: ViewOptions, cache: Cache | None = None) -> None:
        self._trees = Trees(TreeCache(cache))
        self._entries: dict[bytes, Node] = {
            b"images": ImagesDirectory(Context(union, options, self._trees)),
            b"tags": TagsDirectory(union),
            b"heads": HeadsDirectory(union),
        }

    def close(self) -> None:
        """Let go of the layers that are open."""
        self._trees.close()

    def lookup(self, name: bytes) -> Node | None:
        return self._entries.get(name)

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        yield from self._entries.items()
