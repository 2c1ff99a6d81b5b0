"""Indexes of layers that lie in a registry beside the image, or where the user says, and how far they are trusted.

The digest of an image vouches for its layers, not for what refers to it: who may push to the repository may push an
index that shows other bytes. So an index that was only found is used where the image was named by a tag, which is no
stronger, and for one named by its digest only if that is asked for.
"""

import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import msgspec

from imgfs.blob import MemoryBlob
from imgfs.cache import Cache
from imgfs.digest import Digest
from imgfs.errors import Corrupt, ImgfsError, InvalidImage, describe
from imgfs.layers.index_file import LayerIndex
from imgfs.layers.index_parts import index_from_parts
from imgfs.layers.trust import Level
from imgfs.registry.client import Manifest, RemoteRepository
from imgfs.registry.index_artifact import IndexArtifact, find_index, parse_index, pinned_in, read_index
from imgfs.single_flight import SingleFlight
from imgfs.sources.finder import BlobRef, FoundImage, TocRef
from imgfs.sources.index_use import IndexUse

logger = logging.getLogger("imgfs")

_KIND = "shared-index"
"""What the cache calls the manifest of an index that was found, under its repository and its image."""
_ABSENT = "no-shared-index"
"""What it calls the time in seconds since the epoch at which there was no index, under the same."""
_ABSENCE = (
    300.0  # seconds for which that holds, unless the index is pushed from here or asked for by an option
)
_LARGEST = 4 << 20
_THREADS = 8
_AHEAD = ("map", "members")
_PAUSE = 60.0  # seconds after which an index is looked for again, where that failed


_Found = tuple[IndexArtifact, Level] | None


class Subject(msgspec.Struct, frozen=True):
    """An image that may have an index: the digest of its manifest, and that of the index which the manifest pins."""

    manifest: Digest
    pinned: Digest | None


class SharedIndexes:
    """The indexes of the layers of some images. Safe to use from several threads.

    They are looked for in `repository`, if the images were named by a digest as `is_by_digest` says, as `use` allows.
    """

    def __init__(
        self,
        repository: RemoteRepository,
        cache: Cache,
        use: IndexUse,
        *,
        is_by_digest: bool,
        is_offline: bool = False,
    ) -> None:
        self._is_offline = is_offline
        self._repository = repository
        self._cache = cache
        self._use = use
        self._is_by_digest = is_by_digest
        self._lock = Lock()  # of what follows; never held while asking
        self._looking: SingleFlight[Subject, _Found] = SingleFlight()
        self._subjects: dict[Digest, list[Subject]] = {}
        self._known: dict[Subject, tuple[_Found, float]] = {}  # with the time until which it holds
        self._failures: dict[Subject, tuple[ImgfsError, float]] = {}

    def add(self, found: FoundImage) -> None:
        """Note an image, whose layers may have an index."""
        if found.manifest is None:
            return
        data = found.manifest.read()
        subject = Subject(Digest.of(data), pinned_in(data))
        for ref in found.layers:
            blob = ref.blob if isinstance(ref, TocRef) else ref
            if isinstance(blob, BlobRef) and blob.digest is not None:
                known = self._subjects.setdefault(blob.digest, [])
                if subject not in known:
                    known.append(subject)

    def find(self, layer: Digest) -> LayerIndex | None:
        """The index of a layer, None if there is none that may be used. Raises ImgfsError."""
        if self._use.is_never:
            return None
        failure: ImgfsError | None = None
        for subject in self._subjects.get(layer, ()):
            try:
                found = self._artifact(subject)
                if found is not None and layer in found[0].parts:
                    return _index(*found, layer)
            except ImgfsError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return None

    def _artifact(self, subject: Subject) -> _Found:
        with self._lock:
            found, until = self._known.get(subject, (None, 0.0))
            failure, failed_until = self._failures.get(subject, (None, 0.0))
        if time.monotonic() < until:
            return found
        if failure is not None and time.monotonic() < failed_until:
            raise failure
        return self._looking.call(subject, lambda: self._find(subject))

    def _find(self, subject: Subject) -> _Found:
        found, until = self._known.get(subject, (None, 0.0))
        if time.monotonic() < until:
            return found
        try:
            found = self._look(subject)
        except ImgfsError as error:
            with self._lock:
                self._failures[subject] = error, time.monotonic() + _PAUSE
            raise
        if found is not None:
            artifact, level = found
            logger.info("docker://%s@%s: its index is %s, %s", self._repository.name, subject.manifest,
                        artifact.digest, level)  # fmt: skip
            self._fetch_ahead(artifact)
        until = time.monotonic() + _ABSENCE if found is None else math.inf
        with self._lock:
            self._known[subject] = found, until
        return found

    def _look(self, subject: Subject) -> _Found:
        digest = self._use.given or subject.pinned
        if digest is not None:
            return read_index(self._repository, digest), Level.PINNED
        if self._is_by_digest and not self._use.uses_found:
            return None
        artifact = self._kept(subject.manifest)
        if artifact is None and not self._is_absent(subject.manifest):
            artifact = find_index(self._repository, subject.manifest)
            kind, data = (_ABSENT, b"%d" % time.time()) if artifact is None else (_KIND, artifact.manifest)
            self._cache.keep(_place(self._repository, subject.manifest), kind, lambda file: file.write(data))
        return None if artifact is None else (artifact, Level.FOUND)

    def _kept(self, subject: Digest) -> IndexArtifact | None:
        """The index that was found before; it counts for no more than one that is found."""
        place = _place(self._repository, subject)
        data = self._read(place, _KIND)
        if data is None:
            return None
        try:
            return parse_index(self._repository, Manifest(Digest.of(data), "", data), subject)
        except InvalidImage:
            self._cache.discard(place, _KIND)
            return None

    def _is_absent(self, subject: Digest) -> bool:
        """Whether there was no index a while ago; however long ago, if nothing may be asked."""
        data = None if self._use.uses_found else self._read(_place(self._repository, subject), _ABSENT)
        if data is None or not data.isdigit():
            return False
        return self._is_offline or 0 <= time.time() - int(data[:18]) < _ABSENCE

    def _read(self, place: Digest, kind: str) -> bytes | None:
        file = self._cache.open(place, kind)
        if file is None:
            return None
        with file:
            return file.pread(_LARGEST, 0)

    def _fetch_ahead(self, artifact: IndexArtifact) -> None:
        """Fetch what listing the image needs, several parts at a time; reading one says what fails."""

        def fetch(part: tuple[Digest, str]) -> None:
            try:
                artifact.read(*part)
            except ImgfsError as error:
                logger.debug("index %s: %s", artifact.digest, describe(error))

        with ThreadPoolExecutor(_THREADS) as pool:
            list(
                pool.map(
                    fetch,
                    [(layer, kind) for layer in artifact.parts if layer in self._subjects for kind in _AHEAD],
                )
            )


def note_index(repository: RemoteRepository, subject: Digest) -> None:
    """Have an index that has just been pushed be found at once."""
    if repository.cache is not None:
        repository.cache.discard(_place(repository, subject), _ABSENT)


def _place(repository: RemoteRepository, subject: Digest) -> Digest:
    """What an index is kept under: who may push to one repository may not to another that has the same image."""
    return Digest.of(f"{repository.name}@{subject}".encode())


def _index(artifact: IndexArtifact, level: Level, layer: Digest) -> LayerIndex:
    """The index of a layer, of which what is not needed at once is read later. Raises Corrupt, RegistryError."""
    name = f"index {artifact.digest} of layer {layer}"

    def read(kind: str) -> bytes:
        data = artifact.read(layer, kind)
        if data is None:
            raise Corrupt(f"{name}: it has no {kind}")
        return data

    windows = artifact.open(layer, "windows")
    return index_from_parts(read("map"), windows or MemoryBlob(b""), read, level)
