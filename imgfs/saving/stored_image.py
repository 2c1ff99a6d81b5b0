"""Images copied exactly as a place stores them: manifests, configs and layers' blobs, found from what a name leads to.

Format: OCI image specification, image-index.md and manifest.md, and Docker's, which has the same fields.
Tried by the tests of `imgfs copy`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from imgfs.blob import MAX_SIZE, Blob
from imgfs.budget import Budget
from imgfs.digest import Digest, ImageID
from imgfs.errors import Corrupt, InvalidImage, StoreError
from imgfs.saving.oci_manifest import DOCKER_CONFIG, DOCKER_MANIFEST
from imgfs.saving.piece import INDEX, MANIFEST, Kind, Piece, document_piece
from imgfs.sources.content_store import ContentStore
from imgfs.sources.documents import parse_document, read_document, reading_budget
from imgfs.sources.finder import ignore
from imgfs.sources.manifests import Descriptor, Document, entries_of, this_platform_first

_ELSEWHERE = ("foreign", "nondistributable")
"""In the media types of layers that registries need not have: manifests have URLs of them."""

_MAX_DEPTH = 8  # of indexes in indexes


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """An index or a manifest as it is stored, and what is below it: manifests of an index, blobs of a manifest."""

    piece: Piece
    manifests: Sequence["StoredManifest"]
    blobs: Sequence[Piece]

    def pieces(self) -> Iterator[Piece]:
        """What it is copied as."""
        for manifest in self.manifests:
            yield from manifest.pieces()
        yield from self.blobs
        yield self.piece


class StoredImages:
    """What is stored in a place; errors call it `place`.

    Methods raise Corrupt for a document that has another digest, InvalidImage, StoreError or OSError.
    """

    def __init__(self, content: ContentStore, place: str) -> None:
        self._content = content
        self._place = place
        self._budget: Budget = reading_budget(place)

    def manifest_of(self, top: Descriptor, image_id: ImageID) -> StoredManifest | None:
        """The manifest of one image below a descriptor; None if there is none, or not all of its blobs are stored."""
        return self._find(top, image_id, _MAX_DEPTH)

    def everything(self, top: Descriptor) -> StoredManifest:
        """All that a descriptor leads to. Raises StoreError if some of it is not there."""
        return self._everything(top, _MAX_DEPTH)

    def _find(self, descriptor: Descriptor, image_id: ImageID, depth: int) -> StoredManifest | None:
        try:
            document, piece = self._read(descriptor)
        except FileNotFoundError:  # of a platform that was not pulled
            return None
        if document.is_index:
            entries = this_platform_first(self._entries(document, piece, depth))
            found = (self._find(entry, image_id, depth - 1) for entry in entries)
            return next(filter(None, found), None)
        if document.config is None or document.config.digest != image_id:
            return None
        with suppress(FileNotFoundError):
            return StoredManifest(piece, (), self._blobs(document))
        return None

    def _everything(self, descriptor: Descriptor, depth: int) -> StoredManifest:
        try:
            document, piece = self._read(descriptor)
            if document.is_index:
                below = [
                    self._everything(entry, depth - 1) for entry in self._entries(document, piece, depth)
                ]
                return StoredManifest(piece, below, ())
            return StoredManifest(piece, (), self._blobs(document))
        except FileNotFoundError:
            raise StoreError(
                f"{self._place}: {descriptor.digest}, or a blob of it, is not there: not all was pulled"
            ) from None

    def _entries(self, document: Document, index: Piece, depth: int) -> list[Descriptor]:
        if not depth:
            raise InvalidImage(f"{self._place}: {index.digest}: more than {_MAX_DEPTH} indexes in each other")
        return entries_of(document, f"{self._place}: {index.digest}", ignore)

    def _read(self, descriptor: Descriptor) -> tuple[Document, Piece]:
        digest = Digest(descriptor.digest)
        name = f"{self._place}: {digest}"
        data = read_document(self._content.open_content(descriptor), name, digest, self._budget)
        document = parse_document(data, Document, name)
        kind = Kind.INDEX if document.is_index else Kind.MANIFEST
        media_type = type_of(document, descriptor.media_type)
        return document, document_piece(kind, media_type, data, digest)

    def _blobs(self, manifest: Document) -> list[Piece]:
        """The blobs of a manifest. Raises FileNotFoundError if one is not there."""
        blobs = []
        for descriptor in manifest.layers or ():
            try:
                blobs.append(self._blob(Kind.BLOB, descriptor))
            except FileNotFoundError:
                if not is_elsewhere(descriptor):
                    raise
        return [*blobs, self._blob(Kind.CONFIG, manifest.config)] if manifest.config else blobs

    def _blob(self, kind: Kind, descriptor: Descriptor) -> Piece:
        self._content.open_content(descriptor).close()
        return described_piece(kind, descriptor, partial(self._content.open_content, descriptor))


def described_piece(kind: Kind, descriptor: Descriptor, open_blob: Callable[[], Blob]) -> Piece:
    """A blob as its descriptor has it, which `open_blob` opens, also to find a size that the descriptor does not say.

    Raises Corrupt if no blob with its digest can have the size that it says.
    """
    digest, size = Digest(descriptor.digest), descriptor.size
    if size is None:
        with open_blob() as blob:
            size = blob.size
    elif not 0 <= size <= MAX_SIZE or (size == 0 and not digest.is_of(b"")):
        raise Corrupt(f"{kind.value} {digest}: its descriptor says that it has {size} bytes")
    return Piece(kind, descriptor.media_type, digest, size, open_blob)


def is_elsewhere(layer: Descriptor) -> bool:
    """Whether a layer is one that need not be stored beside its manifest."""
    return any(word in layer.kind for word in _ELSEWHERE)


def type_of(document: Document, described: str = "") -> str:
    """The media type of a manifest or an index; `described` is what a descriptor of it says."""
    if document.media_type or described:
        return document.media_type or described
    if document.is_index:
        return INDEX
    is_docker = document.config is not None and document.config.kind == DOCKER_CONFIG
    return DOCKER_MANIFEST if is_docker else MANIFEST
