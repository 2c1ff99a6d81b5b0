"""`images/`: a directory for each image, named by the hex of its ID, and links from whatever else means one."""

from collections.abc import Iterator

from imgfs.digest import ImageID
from imgfs.errors import ImgfsError
from imgfs.sources.union import Snapshot, Union
from imgfs.view.image import ImageDirectory
from imgfs.view.node import Directory, Node, Symlink
from imgfs.view.options import ViewOptions


class ImagesDirectory(Directory):
    """All images as they are now.

    Unique prefixes of an ID, with or without `sha256:`, are not listed, but looking one up yields a link.
    """

    key = "/images"
    mutable = True

    def __init__(self, union: Union, options: ViewOptions) -> None:
        self._union = union
        self._options = options

    def lookup(self, name: bytes) -> Node | None:
        term = name.decode("ascii", "replace")
        snapshot = self._union.snapshot
        try:
            image_id = ImageID(snapshot.ids.search(term))
        except ImgfsError:
            return None
        if image_id.hex == term:
            return self._image(snapshot, image_id)
        return AliasLink(f"{self.key}/{term}", image_id.hex.encode())

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        snapshot = self._union.snapshot
        for image_id in snapshot.images:
            yield image_id.hex.encode(), self._image(snapshot, image_id)

    def _image(self, snapshot: Snapshot, image_id: ImageID) -> ImageDirectory:
        image, source = snapshot.images[image_id], snapshot.sources[image_id][0]
        return ImageDirectory(f"{self.key}/{image_id.hex}", image, source, self._union, self._options)


class AliasLink(Symlink):
    """A link to an image; what it leads to may change when images come and go."""

    mutable = True

    def __init__(self, key: str, target: bytes) -> None:
        self.key = key
        self.target = target
