"""The pieces that the images of a mount are saved as, found when they are first wanted.

Tried by the tests of what is shown of them.
"""

from collections import defaultdict
from collections.abc import Hashable
from threading import Lock

from imgfs.digest import Digest, ImageID
from imgfs.saving.saved_image import ImagePieces, image_pieces, needs_layers
from imgfs.sources.union import Snapshot, Union


class SavedImages:
    """The pieces of each image of `union`, kept as long as the same manifests of it are there."""

    def __init__(self, union: Union) -> None:
        self._union = union
        self._lock = Lock()  # held while nothing blocks
        self._finding: defaultdict[ImageID, Lock] = defaultdict(Lock)
        self._found: dict[ImageID, tuple[str, ImagePieces]] = {}
        self._snapshot: Snapshot | None = None
        self._versions: dict[ImageID, str] = {}  # in that snapshot
        self._present = set[Hashable]()  # the keys of blobs that are there in it

    def version(self, image_id: ImageID) -> str:
        """Differs once the pieces of an image may be others, and is the same in every mount. Never blocks."""
        snapshot = self._union.snapshot
        with self._lock:
            if snapshot is not self._snapshot:
                self._snapshot, self._versions, self._present = snapshot, {}, set()
            version = self._versions.get(image_id)
        if version is None:
            manifests = (source.manifest(image_id) for source in snapshot.sources.get(image_id, ()))
            version = Digest.of(b"\0".join(manifest or b"" for manifest in manifests)).short
            with self._lock:
                if snapshot is self._snapshot:
                    self._versions[image_id] = version
        return version

    def known(self, image_id: ImageID) -> ImagePieces | None:
        """The pieces of an image if they were found. Never blocks."""
        version, pieces = self._found.get(image_id, ("", None))
        return pieces if pieces is not None and version == self.version(image_id) else None

    def look_for(self, image_id: ImageID) -> ImagePieces | None:
        """The pieces of an image if no layer has to be read to find them. May block. Raises as `find` does."""
        pieces = self.known(image_id)
        if pieces is None and needs_layers(self._union.snapshot, image_id):
            return None
        return pieces or self.find(image_id)

    def find(self, image_id: ImageID) -> ImagePieces:
        """The pieces of an image. May block. Raises as `image_pieces` does."""
        with self._lock:
            finding = self._finding[image_id]
        with finding:
            pieces = self.known(image_id)
            if pieces is None:
                version, snapshot = self.version(image_id), self._union.snapshot
                pieces = image_pieces(snapshot, image_id, self._present)
                self._found[image_id] = version, pieces
            return pieces

    def forget(self, image_id: ImageID) -> None:
        """Let go of the pieces of an image that is gone."""
        with self._lock:
            self._found.pop(image_id, None)
            self._finding.pop(image_id, None)
