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
from imgfs.view.saved_images import PiecesFile, SavedImages


class DockerTar(PiecesFile):
    """What docker save writes of an image with some names. Of very many, making it takes long, so its size is kept."""

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

        def made(pieces: ImagePieces) -> Blob:
            return tar_blob(docker_archive_entries([SavedImage(image, names, pieces)]))

        super().__init__(f"{key}@{version.hex}", origin, saved, made, mtime_ns)
        self._label = key

    @property
    def label(self) -> str:
        return self._label

    @property
    def known_size(self) -> int | None:
        pieces = self._saved.known(self._origin.image_id)
        return None if pieces is None else self._saved.sizes.get((self.key, pieces.manifest.digest))

    def find_size(self) -> int:
        return self._keep(self._saved.find(self._origin.image_id))

    def look_for_size(self) -> int | None:
        pieces = self._saved.look_for(self._origin.image_id)
        return None if pieces is None else self._keep(pieces)

    def _keep(self, pieces: ImagePieces) -> int:
        with self._make(pieces) as blob:
            size = blob.size
        self._saved.sizes.put((self.key, pieces.manifest.digest), size)
        return size
