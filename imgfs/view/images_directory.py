"""`images/`: a directory for each image, named by the hex of its ID, and links from other digests."""

from collections.abc import Iterator

from imgfs.digest import ImageID
from imgfs.errors import ImgfsError
from imgfs.sources.union import Snapshot
from imgfs.view.image_directory import Context, ImageDirectory
from imgfs.view.links import ImageLink
from imgfs.view.node import Directory, Node


class ImagesDirectory(Directory):
    """All images as they are now.

    Unique prefixes of an ID, and digests of manifests and indexes, which Docker shows as the ID where it keeps images
    in containerd, are not listed, but looking one up yields a link; with or without `sha256:`.
    """

    key = "/images"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._union = context.union

    def lookup(self, name: bytes) -> Node | None:
        term = name.decode("ascii", "replace")
        snapshot = self._union.snapshot
        try:
            image_id = snapshot.by_digest(term)
        except ImgfsError:
            return None
        if image_id.hex == term:
            return self._image(snapshot, image_id)
        link = ImageLink(f"{self.key}/{term}", b"", image_id)
        link.name_may_change = True  # another image may come whose ID begins so too
        return link

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        snapshot = self._union.snapshot
        for image_id in snapshot.images:
            yield image_id.hex.encode(), self._image(snapshot, image_id)

    def _image(self, snapshot: Snapshot, image_id: ImageID) -> ImageDirectory:
        return ImageDirectory(f"{self.key}/{image_id.hex}", snapshot.images[image_id], self._context)
