"""What an image is copied as: layers, a config, and manifests above them, each known by the digest of its bytes.

Pieces come in the order in which they can be written: what a manifest names comes before it, and the last one is what
the name of the image leads to.
Tried by the tests of `imgfs copy` and `imgfs save`.
"""

import hashlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from enum import Enum

from imgfs.blob import Blob, MemoryBlob, blob_chunks
from imgfs.digest import Digest
from imgfs.errors import Corrupt
from imgfs.saving.verified_blob import VerifiedBlob
from imgfs.store import Image, LayerStack

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Kind(Enum):
    """What a piece is, as messages call it."""

    LAYER = "layer"
    BLOB = "blob"
    CONFIG = "config"
    MANIFEST = "manifest"
    INDEX = "manifest list"

    @property
    def is_document(self) -> bool:
        """Whether it names other pieces."""
        return self in (Kind.MANIFEST, Kind.INDEX)


@dataclass(frozen=True, slots=True)
class Piece:
    """`size` bytes with the digest `digest`, or so it is said; `open_blob` opens them at each call."""

    kind: Kind
    media_type: str
    digest: Digest
    size: int
    open_blob: Callable[[], Blob]

    @property
    def descriptor(self) -> dict[str, object]:
        """How a manifest or an index names it. Format: OCI image specification, descriptor.md."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    def open_verified(self) -> Blob:
        """Open it; what is read in order is compared with the digest, see `VerifiedBlob`."""
        blob = self.open_blob()
        is_content = self.kind in (Kind.LAYER, Kind.BLOB)
        return VerifiedBlob(blob, self.digest, f"{self.kind.value} {self.digest}") if is_content else blob

    def chunks(self) -> Generator[bytes, None, None]:
        """Its bytes in order.

        Raises Corrupt at the end if they have another digest or are not `size`, and what reading them raises.
        """
        with self.open_blob() as blob:
            yield from self.checked(blob_chunks(blob))

    def checked(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Passes on what are said to be its bytes, as `chunks` does."""
        found = hashlib.new(self.digest.algorithm)
        size = 0
        for chunk in chunks:
            found.update(chunk)
            size += len(chunk)
            yield chunk
        if found.hexdigest() != self.digest.hex:
            what = f"its {size} bytes are {self.digest.algorithm}:{found.hexdigest()}"
            raise Corrupt(f"{self.kind.value} {self.digest}: failed to verify, {what}")
        if size != self.size:
            raise Corrupt(f"{self.kind.value} {self.digest}: {size} bytes where {self.size} were expected")


def document_piece(kind: Kind, media_type: str, data: bytes, digest: Digest | None = None) -> Piece:
    """A piece that is in memory; `digest` is what it was found by, if it was."""
    return Piece(kind, media_type, digest or Digest.of(data), len(data), lambda: MemoryBlob(data))


def config_piece(image: Image, media_type: str) -> Piece:
    """The config of an image."""
    size = image.document.size
    return Piece(Kind.CONFIG, media_type, image.id, size, lambda: MemoryBlob(image.raw_config))


def layer_piece(layers: LayerStack, number: int) -> Piece:
    """The tar of one layer. Blocks until its size is known; raises what reading it raises."""
    with layers.open_one(number) as tar:
        size = tar.size
    return Piece(Kind.LAYER, LAYER, layers.diff_ids[number], size, lambda: layers.open_one(number))
