"""Images of a registry: of one repository, or of all that it lists. Only manifests and configs are read to find them.

Format: OCI distribution specification 1.1, through `imgfs.registry`; what manifests lead to is `manifests`' to follow.
"""

import time
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain

from imgfs.blob import Blob
from imgfs.digest import DiffID, Digest
from imgfs.errors import ImgfsError, StoreError, describe
from imgfs.layers import Indexer
from imgfs.layers.index_file import LayerIndex
from imgfs.layers.toc_pin import no_external_toc
from imgfs.registry.reference import RegistryReference, Repository, parse_registry_reference
from imgfs.registry.transport import Unreachable
from imgfs.sources.checks import named_blobs
from imgfs.sources.content_store import ContentStore, Top
from imgfs.sources.external_tocs import ExternalTocs
from imgfs.sources.finder import Check, Finder, Found, FoundImage, Report
from imgfs.sources.manifests import Descriptor, ManifestWalk
from imgfs.sources.registries import Registries
from imgfs.sources.remote_documents import RemoteDocuments
from imgfs.sources.remote_tags import RemoteTags, listed_names
from imgfs.sources.shared_indexes import SharedIndexes
from imgfs.sources.source import Source
from imgfs.store import Platform

_AHEAD = 16  # tags whose documents are fetched ahead


def open_registry(reference: str, indexer: Indexer, registries: Registries) -> Source:
    """The source that a reference names, `docker://…`. Raises RegistryError, NotFound, StoreError or Corrupt."""
    finder = RegistryFinder(parse_registry_reference(reference), registries)
    indexer.stats, indexer.fetching = registries.stats, registries.fetching
    indexer.indexes.external, indexer.find_toc = finder.find_index, finder.find_toc
    try:
        return Source(finder, indexer)
    except BaseException:
        finder.close()
        raise


class RegistryFinder(Finder, ContentStore):
    """What `wanted` names: an image, by its tag or digest, those of all tags of a repository, or of all of a registry.

    A registry is asked whether a tag has moved at most every `interval` of `registries`, and where there are many, no
    more often than once a second for one of them.
    """

    def __init__(self, wanted: RegistryReference, registries: Registries) -> None:
        self.reference = str(wanted)
        self._wanted = wanted
        self._registries = registries
        self._places: dict[Repository, _Place] = {}
        self._known: object = None
        self._next = 0.0  # when tags are asked for again
        self._failure: ImgfsError | None = None  # of the last time
        self._has_found = False

    def find(self, report: Report) -> Iterator[Found]:
        """As of `Finder`. Raises RegistryError if the registry is away, or what was found before might get lost."""
        try:
            if self._wanted.path and not self._wanted.all_tags:
                yield from self._find_one(report)
            else:
                for place in self._places.values():
                    yield from place.find(report)
                    failure = place.documents.failure
                    if failure is not None and (self._has_found or isinstance(failure, Unreachable)):
                        raise failure
        except ImgfsError as error:
            self._failure = error  # nothing is asked again at once
            raise
        self._has_found = True

    def stamp(self) -> object:
        """What each tag leads to. Raises what failed as long as the registry is not asked again."""
        if time.monotonic() >= self._next:
            self._failure = None
            try:
                self._look()
            except ImgfsError as error:
                self._failure = error
            count = sum(len(place.tags.known) for place in self._places.values())
            self._next = time.monotonic() + self._registries.interval * max(1.0, count / 60)
        if self._failure is not None:
            raise self._failure
        return self._known

    def checks(self) -> Iterator[Check]:
        for place in self._places.values():
            yield from named_blobs(place.documents.open, [top.descriptor for top in place.tops()])

    def tops(self) -> Iterable[Top]:
        return chain.from_iterable(place.tops() for place in self._places.values())

    def open_content(self, descriptor: Descriptor) -> Blob:
        if len(self._places) != 1:
            raise StoreError(f"{self.reference}: it has several repositories; name one")
        (place,) = self._places.values()
        return place.documents.open(descriptor)

    def find_index(self, layer: Digest, diff_id: DiffID | None, stored_size: int) -> LayerIndex | None:
        """The index of a layer that lies in a registry, None if there is none that may be used. Raises ImgfsError."""
        for place in list(self._places.values()):
            index = place.indexes.find(layer)
            if index is not None:
                return index
        return None

    def find_toc(self, layer: Digest) -> bytes:
        """The table of contents of a layer that lies in another image. Raises NotFound if there is none, ImgfsError."""
        for place in list(self._places.values()):
            toc = place.tocs.find(layer)
            if toc is not None:
                return toc
        return no_external_toc(layer)

    def close(self) -> None:
        self._registries.close()

    def _look(self) -> None:
        """Ask for repositories and tags."""
        wanted, registries = self._wanted, self._registries
        if wanted.path:
            repositories = [wanted.repository]
        else:
            ask = None if registries.is_offline else lambda: registries.client.catalog(wanted.host)
            listed = listed_names(registries.cache, self.reference, ask)
            repositories = [Repository(wanted.host, path) for path in listed]
        self._places = {
            each: self._places.get(each) or _Place(each, wanted, registries) for each in repositories
        }
        for place in self._places.values():
            place.look(must_be=bool(wanted.path))
        self._known = {
            repository: (place.tags.known, {tag: str(error) for tag, error in place.tags.problems.items()})
            for repository, place in self._places.items()
        }

    def _find_one(self, report: Report) -> Iterator[Found]:
        """As `find` for one image. Raises ImgfsError if it is not there, or not for the platform that is wanted."""
        (place,) = self._places.values()
        problems: list[tuple[str, str, Sequence[str]]] = []

        def keep(text: str, *, image: str = "", names: Iterable[str] = ()) -> None:
            problems.append((text, image, tuple(names)))

        found = list(place.find(keep))
        if place.documents.failure is not None:
            raise place.documents.failure
        if not found and problems:
            why = problems[0][0]
            why = why.partition(": ")[2] if why.startswith("skipping manifest ") else why
            raise StoreError(f"{self.reference}: {why}")
        for text, image, names in problems:
            report(text, image=image, names=names)
        yield from found


class _Place:
    """One repository, and what of it is wanted."""

    def __init__(self, name: Repository, wanted: RegistryReference, registries: Registries) -> None:
        remote = registries.client.repository(name)
        self.documents = RemoteDocuments(remote, registries)
        self.tags = RemoteTags(remote, self.documents, registries, wanted.tag)
        self.tocs = ExternalTocs(remote)
        shared = registries.index_repository
        self.indexes = SharedIndexes(
            registries.client.repository(shared) if shared is not None else remote,
            registries.cache,
            registries.index_use,
            is_by_digest=wanted.digest is not None,
            is_offline=registries.is_offline,
        )
        self._name = name
        self._digest = wanted.digest
        self._platform = registries.platform
        self._is_for_one_image = registries.is_for_one_image
        self._problem = ""
        self._walk = ManifestWalk(
            self.documents.open_blob,
            f"docker://{name}",
            platform=self._platform,
            open_manifest=self.documents.open_manifest,
            toc=registries.toc,
        )

    def look(self, *, must_be: bool) -> None:
        """Ask what the tags lead to. Raises Unreachable, and if the repository `must_be` there any ImgfsError."""
        self._problem = ""
        try:
            if self._digest is None:
                self.tags.look()
            else:
                self.documents.manifest(self._digest)
        except ImgfsError as error:
            if must_be or isinstance(error, Unreachable):
                raise
            self._problem = describe(error)

    def tops(self) -> Iterator[Top]:
        """What is wanted, each thing once with all its tags. Raises ImgfsError if it cannot be read."""
        tags: dict[Digest, list[str]] = {} if self._digest is None else {self._digest: []}
        if self._digest is None:
            for tag, digest in self.tags.known.items():
                tags.setdefault(digest, []).append(f"{self._name}:{tag}")
        for digest, names in tags.items():
            yield Top(self.documents.top(digest), names)

    def find(self, report: Report) -> Iterator[Found]:
        """The images and artifacts; what is broken is reported. `documents.failure` is of this look then."""
        self.documents.failure = None
        self._walk.begin(report, _Everything)
        if self._problem:
            report(self._problem)
        for tag, error in self.tags.problems.items():
            report(describe(error), names=[f"{self._name}:{tag}"])
        tops = list(self.tops())
        for start in range(0, len(tops), _AHEAD):
            batch = tops[start : start + _AHEAD]
            if not self._is_for_one_image:
                self.documents.fetch_ahead([top.descriptor for top in batch], self._platform)
            for top in batch:
                if self.documents.is_away:  # then reading on takes long, and is of no use
                    return
                yield from self._images(top, report)

    def _images(self, top: Top, report: Report) -> Iterator[Found]:
        digest = top.descriptor.digest
        for thing in self._walk.images(top.descriptor, top.names, [f"{self._name}@{digest}"]):
            if isinstance(thing, FoundImage) and self._platform is not None:
                image = thing.image
                of = Platform(image.os, image.architecture, image.variant)
                if not self._platform.accepts(of):
                    report(
                        f"image {image.id} is for {of}, not {self._platform}",
                        image=image.id,
                        names=thing.tags,
                    )
                    continue
            if isinstance(thing, FoundImage):
                self.indexes.add(thing)
                self.tocs.add(thing, [name.rpartition(":")[2] for name in top.names])
            yield thing
            if isinstance(thing, FoundImage) and self._is_for_one_image:
                return


class _Everything(Container[str]):
    """What a repository holds: what a digest names stays what it is."""

    def __contains__(self, digest: object) -> bool:
        return True
