"""Manifests and configs of a repository: fetched when they are read, and kept in the cache for good by their digests.

Tried by the tests of the source of registries.
"""

import errno
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from imgfs.blob import Blob
from imgfs.digest import Digest
from imgfs.errors import ImgfsError, InvalidImage, NotFound
from imgfs.registry.client import Manifest, RemoteRepository
from imgfs.registry.transport import RegistryError, Unreachable
from imgfs.sources.documents import MAX_DOCUMENT, parse_document
from imgfs.sources.manifests import IMAGE_CONFIGS, Descriptor, Document, documents_below
from imgfs.sources.registries import Registries
from imgfs.store import Platform

THREADS = 8
"""How many requests for documents of one repository are made at a time."""

_KIND = "manifest"
_MOST_AHEAD = 1000  # documents
_LARGEST_AHEAD = 1 << 20  # bytes of each

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class RemoteDocuments:
    """The documents of `repository`, and its layers. Safe to use from several threads.

    `failure` is set once the registry did not send one that it may have.
    """

    def __init__(self, repository: RemoteRepository, registries: Registries) -> None:
        self._repository = repository
        self._cache = registries.cache
        self._is_offline = registries.is_offline
        self.failure: RegistryError | None = None

    def manifest(self, digest: Digest) -> bytes:
        """A manifest or an index. Raises RegistryError, NotFound or Corrupt."""
        return self._kept(digest) or self._keep(self._repository.manifest(digest))

    def tagged(self, tag: str) -> Digest:
        """The digest of what a tag leads to now, which is fetched. Raises RegistryError or NotFound."""
        manifest = self._repository.manifest(tag)
        self._keep(manifest)
        return manifest.digest

    def has(self, digest: Digest) -> bool:
        """Whether a manifest is in the cache."""
        return self._kept(digest) is not None

    def top(self, digest: Digest) -> Descriptor:
        """The descriptor of a manifest or an index. Raises what `manifest` raises."""
        data = self.manifest(digest)
        try:
            document = parse_document(data, Document, digest)
            kind = document.media_type or (_INDEX if document.is_index else _MANIFEST)
        except InvalidImage:  # following it says so
            kind = _MANIFEST
        return Descriptor(digest, len(data), kind)

    def open(self, descriptor: Descriptor) -> Blob:
        """What has a descriptor, by its media type, as `open_manifest` or `open_blob` opens it."""
        is_manifest = "manifest" in descriptor.kind or "index" in descriptor.kind
        return self.open_manifest(descriptor) if is_manifest else self.open_blob(descriptor)

    def open_manifest(self, descriptor: Descriptor) -> Blob:
        """A manifest or an index. Nothing is asked before it is read.

        Reading raises FileNotFoundError if it is not there. Raises InvalidDigest.
        """
        digest = Digest(descriptor.digest)
        return _Document(lambda: self._watched(lambda: self.manifest(digest)), descriptor.size)

    def open_blob(self, descriptor: Descriptor) -> Blob:
        """A config or a layer. Nothing is asked before it is read.

        Raises InvalidDigest, or InvalidImage if no size is recorded.
        """
        digest, size = Digest(descriptor.digest), descriptor.size
        if size is None:
            raise InvalidImage(f"no size is recorded of blob {digest}")
        if descriptor.kind.endswith("+json") and size <= MAX_DOCUMENT:
            return _Document(lambda: self._watched(lambda: self._repository.read(digest, size)), size)
        return self._repository.blob(digest, size)

    def fetch_ahead(self, tops: Iterable[Descriptor], platform: Platform | None) -> None:
        """Fetch what some manifests and indexes lead to for a platform, several at a time; reading it says what fails.

        It is found in the cache then.
        """
        if self._is_offline or self._cache.is_refused:
            return
        waiting, seen = list(tops), set[str]()
        with ThreadPoolExecutor(THREADS) as pool:
            while waiting and self.failure is None:
                seen.update(each.digest for each in waiting)
                below = chain.from_iterable(pool.map(lambda each: self._below(each, platform), waiting))
                new = {each.digest: each for each in below if each.digest not in seen}
                waiting = [each for each in new.values() if (each.size or 0) <= _LARGEST_AHEAD]
                waiting = waiting[: max(0, _MOST_AHEAD - len(seen))]

    @property
    def is_away(self) -> bool:
        """Whether the registry could not be reached."""
        return isinstance(self.failure, Unreachable)

    def _below(self, descriptor: Descriptor, platform: Platform | None) -> list[Descriptor]:
        if self.is_away:
            return []
        is_config = descriptor.kind in IMAGE_CONFIGS
        try:
            with self.open_blob(descriptor) if is_config else self.open_manifest(descriptor) as blob:
                data = blob.pread(blob.size, 0)
            return [] if is_config else documents_below(data, descriptor.digest, platform)
        except (ImgfsError, OSError):
            return []

    def _watched(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except NotFound as error:
            raise FileNotFoundError(errno.ENOENT, str(error)) from None
        except RegistryError as error:
            if self._is_offline or error.status == 404:
                raise FileNotFoundError(errno.ENOENT, str(error)) from None
            self.failure = error
            raise

    def _kept(self, digest: Digest) -> bytes | None:
        """A manifest as the cache has it."""
        file = self._cache.open(digest, _KIND)
        if file is None:
            return None
        with file:
            data = file.pread(MAX_DOCUMENT, 0)
        return data if digest.is_of(data) else None

    def _keep(self, manifest: Manifest) -> bytes:
        self._cache.keep(manifest.digest, _KIND, lambda file: file.write(manifest.data))
        return manifest.data


class _Document(Blob):
    """A document that `fetch` fetches when it is first read, or its size is asked for where that is not recorded."""

    def __init__(self, fetch: Callable[[], bytes], size: int | None) -> None:
        self._fetch = fetch
        self._size = size
        self._data: bytes | None = None

    @property
    def size(self) -> int:
        return len(self._whole()) if self._size is None else self._size

    def pread(self, size: int, offset: int) -> bytes:
        return self._whole()[offset : offset + size]

    def _whole(self) -> bytes:
        if self._data is None:
            self._data = self._fetch()
        return self._data
