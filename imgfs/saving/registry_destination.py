"""An image that is pushed to a registry: blobs first, three at once, then manifests, the one that is named last.

Tried by the tests of `imgfs copy`.
"""

from collections.abc import Callable
from typing import ClassVar

from imgfs.errors import StoreError
from imgfs.registry.client import RegistryClient
from imgfs.registry.push import Pusher
from imgfs.registry.reference import RegistryReference, Repository
from imgfs.saving.copying import Destination
from imgfs.saving.piece import Piece


class RegistryDestination(Destination):
    """A repository, where the image gets the tag or has the digest of `reference`.

    Blobs that are in `source`, a repository of the same registry, are mounted from there.
    """

    workers: ClassVar[int] = 3

    def __init__(
        self, client: RegistryClient, reference: RegistryReference, source: Repository | None = None
    ) -> None:
        self._pusher = Pusher(client.repository(reference.repository))
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
            self._pusher.upload(piece.digest, blob, advance, self._source)

    def finish(self, top: Piece) -> None:
        wanted = self._reference.digest
        if wanted not in (None, top.digest):
            raise StoreError(f"{self._reference}: what is copied has the digest {top.digest}")
        self._put_manifest(top, self._reference.tag or top.digest)

    def _put_manifest(self, piece: Piece, reference: str) -> None:
        data = b"".join(piece.chunks())
        self._pusher.put_manifest(reference, piece.digest, data, piece.media_type)
