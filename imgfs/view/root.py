"""The top of the mounted tree."""

from collections.abc import Iterator

from imgfs.sources.union import Union
from imgfs.view.images import ImagesDirectory
from imgfs.view.node import Directory, Node
from imgfs.view.options import ViewOptions


class RootDirectory(Directory):
    """Everything that `union` has."""

    key = "/"

    def __init__(self, union: Union, options: ViewOptions) -> None:
        self._entries: dict[bytes, Node] = {b"images": ImagesDirectory(union, options)}

    def lookup(self, name: bytes) -> Node | None:
        return self._entries.get(name)

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        yield from self._entries.items()
