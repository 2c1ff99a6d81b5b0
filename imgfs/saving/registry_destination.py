"""An image that is pushed to a registry: blobs first, three at once, then manifests, the one that is named last.

Tried by the tests of `imgfs copy`.
"""

import logging
from collections.abc import Callable
from typing import ClassVar

from imgfs.digest import Digest
from imgfs.errors import ImgfsError, StoreError
from imgfs.registry.client import RegistryClient, RemoteRepository
from imgfs.registry.index_artifact import find_index, pinned_in, read_index
from imgfs.registry.index_push import copy_index
from imgfs.registry.push import Pusher
from imgfs.registry.reference import RegistryReference
from imgfs.saving.copying import Destination
from imgfs.saving.piece import Kind, Piece
from imgfs.sources.shared_indexes import note_index

logger = logging.getLogger("imgfs")


class RegistryDestination(Destination):
    """A repository, where the image gets the tag or has the digest of `reference`.

    The image comes from `source`, if that is a repository: blobs are mounted from there if it is in the same registry,
    and the index of the image goes along if there is one.
    """

    workers: ClassVar[int] = 3

    def __init__(
        self, client: RegistryClient, reference: RegistryReference, source: RemoteRepository | None = None
    ) -> None:
        self._repository = client.repository(reference.repository)
        self._pusher = Pusher(self._repository)
        self._reference = reference
        self._source = source

    def reach(self) -> None:
        """Ask the registry for what it takes to write there. Raises RegistryError."""
        self._pusher.reach()

    def has(self, piece: Piece) -> bool:
        return not piece.kind.is_document and self._pusher.has_blob(piece.digest, piece.size)

    def put(self, piece: Piece, advance: Callable[[int], None]) -> None:
        if piece.kind.is_document:
            self._put_manifest(piece, piece.digest)
            return
        with piece.open_blob() as blob:
            self._pusher.upload(piece.digest, blob, advance, self._source.name if self._source else None)

    def finish(self, top: Piece) -> None:
        wanted = self._reference.digest
        if wanted not in (None, top.digest):
            raise StoreError(f"{self._reference}: what is copied has the digest {top.digest}")
        self._put_manifest(top, self._reference.tag or top.digest)

    def _put_manifest(self, piece: Piece, reference: str) -> None:
        data = b"".join(piece.chunks())
        self._pusher.put_manifest(reference, piece.digest, data, piece.media_type)
        if piece.kind is Kind.MANIFEST and self._source is not None:
            self._copy_index(self._source, piece.digest, data)

    def _copy_index(self, source: RemoteRepository, image: Digest, manifest: bytes) -> None:
        """Copy the index of an image if there is one; without it, the image is as good, but slower to read."""
        try:
            pinned = pinned_in(manifest)
            artifact = read_index(source, pinned) if pinned else find_index(source, image)
            if artifact is not None:
                copy_index(artifact, image, self._repository, lambda _: None)
                note_index(self._repository, image)
        except ImgfsError as error:
            logger.warning("the index of the image is not copied with it: %s", error)
