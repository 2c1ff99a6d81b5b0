"""What OCI image layouts that are shown consist of: of one image, and of all of a mount.

Format: OCI image specification, image-layout.md.
Tried by the tests of what is shown as layouts.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from imgfs.blob import Blob
from imgfs.digest import ALGORITHMS
from imgfs.saving.entry import encode_json
from imgfs.saving.oci_layout import LAYOUT
from imgfs.saving.piece import Kind, Piece
from imgfs.view.image_origin import ImageOrigin
from imgfs.view.node import Directory, File, FixedDirectory, Node, Origin
from imgfs.view.texts import TextFile


class LayoutBlobs(Protocol):
    """The blobs of a layout by the algorithms of their digests; methods never block."""

    def algorithms(self) -> Iterable[str]:
        """Those that occur, as far as known; `sha256` is always among them."""

    def directory(self, key: str, algorithm: str) -> Directory:
        """The directory of the blobs with such digests."""


class Layout(FixedDirectory):
    """`oci-layout`, `index.json` and `blobs/`: of one image, or of all of a mount.

    `index` makes the node of the index from its key.
    """

    name_may_change = True  # gone once no source has all layers, which is not reported

    def __init__(self, key: str, mtime_ns: int, index: Callable[[str], Node], blobs: LayoutBlobs) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self.makers = {
            b"oci-layout": lambda: TextFile(f"{key}/oci-layout", encode_json(LAYOUT), mtime_ns),
            b"index.json": lambda: index(f"{key}/index.json"),
            b"blobs": lambda: _Algorithms(f"{key}/blobs", mtime_ns, blobs),
        }


class _Algorithms(Directory):
    """`blobs/`: a directory for each algorithm of digests."""

    def __init__(self, key: str, mtime_ns: int, blobs: LayoutBlobs) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._blobs = blobs

    def lookup(self, name: bytes) -> Node | None:
        text = name.decode("ascii", "replace")
        return self._directory(text) if text in ALGORITHMS else None

    def entries(self) -> Iterator[tuple[bytes, Node]]:
        for algorithm in self._blobs.algorithms():
            yield algorithm.encode(), self._directory(algorithm)

    def _directory(self, algorithm: str) -> Directory:
        return self._blobs.directory(f"{self.key}/{algorithm}", algorithm)


class LayoutBlob(File):
    """A blob of a layout, which is compared with its digest if it is read in order."""

    name_may_change = True  # gone once the image is, or is stored in another way, which is not reported

    def __init__(self, key: str, piece: Piece, origin: ImageOrigin, mtime_ns: int) -> None:
        self.key = key
        self.mtime_ns = mtime_ns
        self._piece = piece
        self._origin = origin

    @property
    def origins(self) -> tuple[Origin, ...]:
        return self._origin.origins

    @property
    def known_size(self) -> int:
        return self._piece.size

    def open(self) -> Blob:
        return self._piece.open_verified()

    def try_open(self) -> Blob | None:
        in_memory = self._piece.kind is Kind.CONFIG or self._piece.kind.is_document
        return self._piece.open_blob() if in_memory else None
