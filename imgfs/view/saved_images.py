"""The pieces that the images of a mount are saved as, found when they are first wanted, and files made of them.

Tried by the tests of what is shown of them.
"""

from collections.abc import Callable, Hashable, Sequence
from threading import Lock

from imgfs.blob import Blob
from imgfs.digest import Digest, ImageID
from imgfs.lru import LRU
from imgfs.saving.saved_image import ImagePieces, image_pieces, needs_layers
from imgfs.single_flight import SingleFlight
from imgfs.sources.union import Snapshot, Union
from imgfs.store import KeptDocument
from imgfs.view.image_origin import ImageOrigin
from imgfs.view.node import File, Origin

Manifests = Sequence[KeptDocument | None]
"""Those of one image, of each source that has it, on which its pieces depend."""

_PIECES = 500_000  # that are kept; some 400 bytes each
_SIZES = 100_000


class SavedImages:
    """The pieces of each image of `union`, kept as long as the same manifests of it are there.

    If there are very many, those used least recently are found again.
    """

    def __init__(self, union: Union) -> None:
        self._union = union
        self._lock = Lock()  # held while nothing blocks
        self._finding: SingleFlight[ImageID, ImagePieces] = SingleFlight()
        self._found: LRU[ImageID, tuple[Manifests, ImagePieces]] = LRU(
            _PIECES, weigh=lambda found: len(found[1].all)
        )
        self.sizes: LRU[tuple[str, Digest], int] = LRU(_SIZES)
        """The sizes of files that take long to make, by their keys and the manifests that they have."""
        self._snapshot: Snapshot | None = None
        self._present = set[Hashable]()  # the keys of blobs that are there in that snapshot

    def manifests(self, image_id: ImageID) -> Manifests:
        """The manifests of an image as they are now. Never blocks."""
        sources = self._union.snapshot.sources.get(image_id, ())
        return [source.manifest_document(image_id) for source in sources]

    def known(self, image_id: ImageID) -> ImagePieces | None:
        """The pieces of an image if they were found. Never blocks."""
        found = self._found.get(image_id)
        return found[1] if found is not None and found[0] == self.manifests(image_id) else None

    def look_for(self, image_id: ImageID) -> ImagePieces | None:
        """The pieces of an image if no layer has to be read to find them. May block. Raises as `find` does."""
        pieces = self.known(image_id)
        if pieces is None and needs_layers(self._union.snapshot, image_id):
            return None
        return pieces or self.find(image_id)

    def find(self, image_id: ImageID) -> ImagePieces:
        """The pieces of an image. May block. Raises as `image_pieces` does."""
        return self.known(image_id) or self._finding.call(image_id, lambda: self._find(image_id))

    def forget(self, image_id: ImageID) -> None:
        """Let go of the pieces of an image that is gone."""
        self._found.pop(image_id)

    def _find(self, image_id: ImageID) -> ImagePieces:
        pieces = self.known(image_id)
        if pieces is None:
            manifests, snapshot = self.manifests(image_id), self._union.snapshot
            pieces = image_pieces(snapshot, image_id, self._present_in(snapshot))
            self._found.put(image_id, (manifests, pieces))
        return pieces

    def _present_in(self, snapshot: Snapshot) -> set[Hashable]:
        with self._lock:
            if snapshot is not self._snapshot:
                self._snapshot, self._present = snapshot, set()
            return self._present


class PiecesFile(File):
    """A file that `make` makes of the pieces of an image, without blocking."""

    def __init__(
        self,
        key: str,
        origin: ImageOrigin,
        saved: SavedImages,
        make: Callable[[ImagePieces], Blob],
        mtime_ns: int,
    ) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._origin = origin
        self._saved = saved
        self._make = make

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._origin.origins

    @property
    def known_size(self) -> int | None:
        return self._size(self._saved.known(self._origin.image_id))

    def look_for_size(self) -> int | None:
        return self._size(self._saved.look_for(self._origin.image_id))

    def open(self) -> Blob:
        return self._make(self._saved.find(self._origin.image_id))

    def _size(self, pieces: ImagePieces | None) -> int | None:
        return None if pieces is None else self._make(pieces).known_size
