"""`children/`: links to the images that are based on one."""

from collections.abc import Iterator

from imgfs.digest import ImageID
from imgfs.sources.union import Union
from imgfs.view.image_link import ImageLink
from imgfs.view.node import Directory, Node


class ChildrenDirectory(Directory):
    """The children of an image as they are now."""

    mutable = True

    def __init__(self, key: str, image_id: ImageID, union: Union, mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._id = image_id
        self._union = union

    def lookup(self, name: bytes) -> Node | None:
        snapshot = self._union.snapshot
        child = snapshot.named(name)
        return self._link(child) if child is not None and snapshot.parents.get(child) == self._id else None

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        for child in self._union.snapshot.children.get(self._id, ()):
            yield child.hex.encode(), self._link(child)

    def _link(self, child: ImageID) -> ImageLink:
        return ImageLink(f"{self.key}/{child.hex}", b"../../", child)
