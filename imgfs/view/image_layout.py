"""`images/<id>/oci/`: an image as an OCI image layout, which is made as it is read.

Tried by the tests of what is shown as layouts.
"""

from collections.abc import Iterable, Iterator

from imgfs.blob import Blob, MemoryBlob
from imgfs.digest import ALGORITHMS
from imgfs.saving.entry import encode_json
from imgfs.saving.oci_layout import image_descriptors, new_index
from imgfs.saving.piece import Piece
from imgfs.saving.saved_image import ImagePieces, SavedImage
from imgfs.sources.union import Union
from imgfs.store import Image
from imgfs.view.image_origin import ImageOrigin
from imgfs.view.layout import Layout, LayoutBlob
from imgfs.view.node import Directory, Node, Origin, WaitingDirectory
from imgfs.view.saved_images import PiecesFile, SavedImages


class ImageLayout(Layout):
    """The layout of one image, which its index has once, under the first of its names."""

    def __init__(
        self, key: str, image: Image, origin: ImageOrigin, union: Union, saved: SavedImages, mtime_ns: int
    ) -> None:
        super().__init__(
            key,
            mtime_ns,
            lambda key: _IndexFile(key, image, origin, union, saved, mtime_ns),
            _ImageBlobs(origin, saved, mtime_ns),
        )


class _ImageBlobs:
    """The `LayoutBlobs` of one image."""

    def __init__(self, origin: ImageOrigin, saved: SavedImages, mtime_ns: int) -> None:
        self._origin = origin
        self._saved = saved
        self._mtime_ns = mtime_ns

    def algorithms(self) -> Iterable[str]:
        documents = [each.read() for each in self._saved.manifests(self._origin.image_id) if each is not None]
        for algorithm in ALGORITHMS:
            if algorithm == "sha256" or any(f'"{algorithm}:'.encode() in data for data in documents):
                yield algorithm

    def directory(self, key: str, algorithm: str) -> Directory:
        return _BlobsDirectory(key, algorithm, self._origin, self._saved, self._mtime_ns)


class _IndexFile(PiecesFile):
    mutable = True

    def __init__(
        self, key: str, image: Image, origin: ImageOrigin, union: Union, saved: SavedImages, mtime_ns: int
    ) -> None:
        def made(pieces: ImagePieces) -> Blob:
            names = list(union.snapshot.tags_of(image.id))[:1]
            return MemoryBlob(encode_json(new_index(image_descriptors(SavedImage(image, names, pieces)))))

        super().__init__(key, origin, saved, made, mtime_ns)


class _BlobsDirectory(WaitingDirectory):
    """`blobs/sha256/`: the image's blobs, its config and its manifest, each named by its digest."""

    def __init__(
        self, key: str, algorithm: str, origin: ImageOrigin, saved: SavedImages, mtime_ns: int
    ) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._algorithm = algorithm
        self._origin = origin
        self._saved = saved

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._origin.origins

    def find(self, name: bytes | None) -> None:
        self._saved.find(self._origin.image_id)

    def lookup(self, name: bytes) -> Node | None:
        piece = next((piece for piece in self._pieces() if piece.digest.hex.encode() == name), None)
        return None if piece is None else self._node(piece)

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        for piece in self._pieces():
            yield piece.digest.hex.encode(), self._node(piece)

    def _pieces(self) -> list[Piece]:
        """Each piece once, in the order of their digests."""
        pieces = self._saved.known(self._origin.image_id)
        found = {piece.digest: piece for piece in pieces.in_layout} if pieces is not None else {}
        return [found[digest] for digest in sorted(found) if digest.algorithm == self._algorithm]

    def _node(self, piece: Piece) -> Node:
        return LayoutBlob(f"{self.key}/{piece.digest.hex}", piece, self._origin, self.mtime_ns)
