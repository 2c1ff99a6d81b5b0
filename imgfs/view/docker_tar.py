"""`docker.tar`: an image as docker save writes it, made as it is read.

Tried by the tests of what is shown as layouts.
"""

from collections.abc import Sequence

from imgfs.blob import Blob
from imgfs.digest import Digest
from imgfs.saving import ImagePieces, SavedImage, docker_archive_entries
from imgfs.saving.entry import tar_blob
from imgfs.store import Image
from imgfs.view.image_origin import ImageOrigin
from imgfs.view.node import File, Origin
from imgfs.view.saved_images import SavedImages


class DockerTar(File):
    """What docker save writes of an image with some names."""

    name_may_change = True  # another file once there are other names, or the image is stored in another way

    def __init__(
        self,
        key: str,
        image: Image,
        names: Sequence[str],
        origin: ImageOrigin,
        saved: SavedImages,
        mtime_ns: int,
    ) -> None:
        manifests = (manifest.read() if manifest else b"" for manifest in saved.manifests(image.id))
        depends_on = (*manifests, *(name.encode("utf-8", "surrogateescape") for name in names))
        version = Digest.of(b"\0".join(depends_on))
        self.key = f"{key}@{version.hex}"
        self._label = key
        self.mtime_ns = mtime_ns
        self._image = image
        self._names = names
        self._origin = origin
        self._saved = saved

    @property
    def label(self) -> str:
        return self._label

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._origin.origins

    @property
    def known_size(self) -> int | None:
        pieces = self._saved.known(self._image.id)
        return None if pieces is None else self._tar(pieces).known_size

    def look_for_size(self) -> int | None:
        pieces = self._saved.look_for(self._image.id)
        return None if pieces is None else self._tar(pieces).known_size

    def open(self) -> Blob:
        return self._tar(self._saved.find(self._image.id))

    def _tar(self, pieces: ImagePieces) -> Blob:
        return tar_blob(docker_archive_entries([SavedImage(self._image, self._names, pieces)]))
