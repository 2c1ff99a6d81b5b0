"""What an image is saved and shown as: its manifest, its config and its layers' blobs, each by its digest.

They are those that a source stores, or if none stores all of them, made of the config and the layers' tars.
Tried by the tests of `imgfs save` and of what the mounted tree shows of layouts.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from imgfs.digest import Digest, ImageID
from imgfs.errors import ImageNotFound, ImgfsError, InvalidImage
from imgfs.saving.made_image import made_pieces
from imgfs.saving.oci_manifest import oci_manifest
from imgfs.saving.piece import Kind, Piece, config_piece, document_piece
from imgfs.saving.stored_image import described_piece, is_elsewhere, type_of
from imgfs.sources import Source
from imgfs.sources.documents import parse_document
from imgfs.sources.finder import BlobRef
from imgfs.sources.manifests import Descriptor, Document
from imgfs.sources.union import Snapshot
from imgfs.store import Image


@dataclass(frozen=True, slots=True)
class ImagePieces:
    """An image; `layers` are the digests that its manifest names, bottom first, `blobs` those that are there.

    Only foreign layers may not be there, unless it is not `is_whole`. `oci_manifest` is the manifest as layouts have
    it, in OCI's form.
    """

    manifest: Piece
    oci_manifest: Piece
    config: Piece
    blobs: Sequence[Piece]
    layers: Sequence[Digest]
    is_whole: bool = True

    @property
    def all(self) -> Sequence[Piece]:
        """All of them, the manifest as it is stored last."""
        return (*self.blobs, self.config, self.manifest)

    @property
    def in_layout(self) -> Sequence[Piece]:
        """All that a layout has, the manifest last."""
        return (*self.blobs, self.config, self.oci_manifest)


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image to be saved under `names`, such as `app:1`, of which there may be none."""

    image: Image
    names: Sequence[str]
    pieces: ImagePieces


def image_pieces(snapshot: Snapshot, image_id: ImageID, present: set[Hashable]) -> ImagePieces:
    """The pieces of an image. May block until the sizes of its layers are known.

    `present` are the keys and sizes of blobs that were found to be there, which are not looked for again. If a layer is
    nowhere, the pieces are those that a manifest names, and not whole; reading that layer raises the reason. Raises
    ImageNotFound, Corrupt for a layer of an impossible size, or without a manifest what `made_pieces` raises.
    """
    sources = snapshot.sources.get(image_id)
    if sources is None:
        raise ImageNotFound(image_id)
    image = snapshot.images[image_id]
    incomplete = None
    for source in sources:
        stored = _Stored.of(image, source)
        if stored is not None:
            if stored.is_there(present):
                return stored.pieces(present)
            incomplete = incomplete or stored
    try:
        *layers, config, manifest = made_pieces(image, snapshot.source_of(image_id).store.layers(image_id))
    except (ImgfsError, OSError):
        if incomplete is None:
            raise
        return replace(incomplete.pieces(present), is_whole=False)
    return ImagePieces(manifest, manifest, config, layers, [layer.digest for layer in layers])


def needs_layers(snapshot: Snapshot, image_id: ImageID) -> bool:
    """Whether layers have to be read to find an image's pieces, as their sizes are not known. May block.

    Raises ImageNotFound.
    """
    sources = snapshot.sources.get(image_id, ())
    if any(_Stored.of(snapshot.images[image_id], source) is not None for source in sources):
        return False
    return None in snapshot.source_of(image_id).store.layers(image_id).look_for_sizes()


@dataclass(frozen=True, slots=True)
class _Stored:
    """An image whose manifest a source keeps, each of its layers being a blob."""

    image: Image
    manifest: bytes
    document: Document
    config: Descriptor
    layers: Sequence[tuple[Descriptor, Digest, BlobRef]]

    @classmethod
    def of(cls, image: Image, source: Source) -> "_Stored | None":
        """The image as a source stores it, None if that keeps it in another way. Blocks for no layer."""
        manifest, blobs = source.manifest(image.id), source.stored_blobs(image.id)
        if manifest is None or blobs is None:
            return None
        try:
            document = parse_document(manifest, Document, f"manifest of {image.id}")
        except InvalidImage:
            return None
        layers = list(document.layers or ())
        if document.config is None or document.config.digest != image.id:
            return None
        digests = [blob.digest for blob in blobs if blob.digest is not None]
        if [layer.digest for layer in layers] != digests:
            return None
        return cls(image, manifest, document, document.config, list(zip(layers, digests, blobs, strict=True)))

    def is_there(self, present: set[Hashable]) -> bool:
        """Whether all blobs are there but for foreign ones; they are added to `present`."""
        for descriptor, _, blob in self.layers:
            key = blob.key, descriptor.size
            if key in present:
                continue
            try:
                blob.open_blob().close()
            except (ImgfsError, OSError):
                if not is_elsewhere(descriptor):
                    return False
            else:
                present.add(key)
        return True

    def pieces(self, present: set[Hashable]) -> ImagePieces:
        """The pieces; foreign ones that are not `present` are not among the blobs."""
        blobs = [
            described_piece(Kind.BLOB, descriptor, blob.open_blob)
            for descriptor, _, blob in self.layers
            if (blob.key, descriptor.size) in present or not is_elsewhere(descriptor)
        ]
        manifest = document_piece(Kind.MANIFEST, type_of(self.document), self.manifest)
        config = config_piece(self.image, self.config.media_type)
        shown = oci_manifest(manifest, self.document)
        return ImagePieces(manifest, shown, config, blobs, [digest for _, digest, _ in self.layers])
