"""A link to the directory of an image."""

from imgfs.digest import ImageID
from imgfs.view.node import Symlink


class ImageLink(Symlink):
    """A link to an image; `way` leads from where it lies to `images/`. What it leads to may change, as images do."""

    mutable = True

    def __init__(self, key: str, way: bytes, image_id: ImageID) -> None:
        self.key = key
        self.target = way + image_id.hex.encode()
