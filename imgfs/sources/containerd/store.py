"""Images and containers of containerd, read in its root directory while it runs; the daemon is not asked.

Format: containerd, docs/ops.md and content/local: names lie in a bolt database, blobs below a folder as in an OCI
layout. Only what was pulled is there: often one platform of many, and no blobs of layers where they were discarded
after unpacking, which are read as they are unpacked. A name that is in several namespaces means the image of the one
that sorts first (`default` before `k8s.io` before `moby`).
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from imgfs.blob import Blob, FileBlob, Root
from imgfs.digest import Digest, ImageID
from imgfs.errors import Corrupt, ImgfsError, InvalidImage, SourceNotFound, describe
from imgfs.layers import chain_ids
from imgfs.sources.checks import named_blobs
from imgfs.sources.containerd.bolt import State, read_state
from imgfs.sources.containerd.container_records import DatabaseRecords
from imgfs.sources.containerd.containers import ContainerSearch, Records
from imgfs.sources.containerd.database import Name, Names, read_names
from imgfs.sources.containerd.snapshots import SnapshotRef, Snapshots
from imgfs.sources.content_store import ContentStore, Top
from imgfs.sources.documents import MAX_DOCUMENT, parse_document
from imgfs.sources.finder import BlobRef, Check, Finder, Found, FoundImage, Report
from imgfs.sources.kind import DirectoryKind
from imgfs.sources.manifests import Descriptor, Document, ManifestWalk
from imgfs.sources.reference import familiar_name, with_digest

logger = logging.getLogger("imgfs")

DEFAULT_ROOT = "/var/lib/containerd"
_CONTENT = "io.containerd.content.v1.content"
_DATABASE = "io.containerd.metadata.v1.bolt"
BLOBS = f"{_CONTENT}/blobs"
_SHA256 = f"{BLOBS}/sha256"
_MAX_SCANNED = 1_000_000  # blobs


class ContainerdFinder(Finder, ContentStore):
    """What is in a root directory of containerd, or in one namespace of it: containers, and images whose manifests and
    configs are there.

    With `docker`, which has what that records of containers, names are those that docker shows. Raises SourceNotFound
    if it is no such root, OSError if it cannot be read.
    """

    def __init__(
        self, files: Root, reference: str, namespace: str | None, docker: Records | None = None
    ) -> None:
        self.reference = reference
        self.folders = (files.path,)
        self._files = files
        self._namespace = namespace
        self._docker = docker
        self._mounts: list[str] = []  # what shows that containers that were found last are mounted
        self._version: tuple[State, int, int] | None = None
        self._names: Names | str = ""
        self._snapshots = Snapshots(files)
        self._blobs = set[str]()  # the digests of those that were there at the last look
        self._walk = ManifestWalk(
            self.open_content, files.path, has_layers=self._has_layers, size_of=self._snapshots.size_of
        )
        self._check()
        self.writers = frozenset({files.writer})

    @property
    def namespaces(self) -> Sequence[str] | None:
        """The namespaces that are there; None if that is not known."""
        names = self._read()
        return None if isinstance(names, str) else names.namespaces

    def stamp(self) -> object:
        """As of `Finder`; changes when a name or a container does, or when blobs come or go."""
        self._files.follow()
        return self._read(), self._files.stamp([_SHA256, *self._mounts]), self._records().stamp()

    def watched(self) -> Iterator[str]:
        files = map(self._files.path_of, (f"{_DATABASE}/meta.db", _SHA256, *self._mounts))
        return chain(files, self._records().watched)

    def find(self, report: Report) -> Iterator[Found]:
        self._blobs = self._stored()
        search = ContainerSearch(self._files, self._records(), self._snapshots, report)
        self._mounts = search.watched
        for found in self._find(report):
            if isinstance(found, FoundImage):
                found = self._with_snapshots(found)
                search.see(found)
            yield found
        yield from search.containers()

    def _find(self, report: Report) -> Iterator[Found]:
        self._snapshots.forget()
        names = self._read()
        self._walk.begin(report, lambda: self._blobs)
        if isinstance(names, str):
            report(f"its names cannot be read, so images are found by scanning its blobs: {names}")
            for digest in self._scan():
                yield from self._walk.images(Descriptor(digest), ())
            return
        for problem in names.problems:
            report(problem)
        by_digest: dict[str, list[Name]] = {}
        for name in names.names:
            by_digest.setdefault(name.digest, []).append(name)
        parents = {
            digest: next(filter(None, (of.parent for of in by_digest[digest])), "") for digest in by_digest
        }
        # images that others were built on are read first, too, to know what their IDs are
        targets = {digest: self._first_id(digest) for digest in set(parents.values()) & by_digest.keys()}
        for digest, named in by_digest.items():
            called = [name for name in (self._name(each.name) for each in named) if name]
            tags = [name for name in called if "@" not in name]
            digests = [
                each for name in called for each in ([name] if "@" in name else with_digest([name], digest))
            ]
            for found in self._walk.images(Descriptor(digest), tags, tuple(dict.fromkeys(digests))):
                if isinstance(found, FoundImage):
                    found = replace(found, parent=targets.get(parents[digest]))
                yield found

    def checks(self) -> Iterator[Check]:
        """Each blob that a name leads to."""
        names = self._read()
        found = names.names if isinstance(names, Names) else ()
        return named_blobs(self.open_content, [Descriptor(name.digest) for name in found])

    def tops(self) -> Iterator[Top]:
        names = self._read()
        for name in names.names if isinstance(names, Names) else ():
            called = self._name(name.name)
            yield Top(Descriptor(name.digest), [called] if called else [])

    def open_content(self, descriptor: Descriptor) -> Blob:
        digest = Digest(descriptor.digest)
        return self._files.open(f"{BLOBS}/{digest.algorithm}/{digest.hex}")

    def close(self) -> None:
        self._files.close()

    def _with_snapshots(self, found: FoundImage) -> FoundImage:
        """The image, its layers read as they are unpacked where their blobs are not there."""
        chain = list(chain_ids(found.image.diff_ids))
        layers = list(found.layers)
        if len(layers) != len(chain):
            return found
        for number, (ref, chain_id) in enumerate(zip(layers, chain, strict=True)):
            if not isinstance(ref, BlobRef) or ref.digest is None or ref.digest.algorithm != "sha256":
                continue
            snapshot = self._snapshots.find(chain_id) if ref.digest not in self._blobs else None
            if snapshot is not None:
                layers[number] = SnapshotRef(ref, snapshot, self._snapshots)
        return replace(found, layers=tuple(layers))

    def _has_layers(self, found: FoundImage) -> bool:
        """Whether any layer is there, as a blob or unpacked; also of an image that has none."""
        has_blob = any(isinstance(ref, BlobRef) and ref.digest in self._blobs for ref in found.layers)
        return has_blob or not found.layers or any(map(self._snapshots.find, chain_ids(found.image.diff_ids)))

    def _first_id(self, digest: str) -> ImageID | None:
        found = self._walk.images(Descriptor(digest), ())
        return next((each.image.id for each in found if isinstance(each, FoundImage)), None)

    def _name(self, name: str) -> str | None:
        """What an image is called here; None for names that engines give to images without one."""
        if name.startswith("sha256:") or (self._docker is not None and name.startswith("moby-dangling@")):
            return None
        return name if self._docker is None else familiar_name(name)

    def _records(self) -> Records:
        if self._docker is not None:
            return self._docker
        names = self._read()
        return DatabaseRecords(self._files, () if isinstance(names, str) else tuple(names.containers))

    def _read(self) -> Names | str:
        """The names, or why they cannot be read; read again only if the database has changed."""
        try:
            with self._open_database() as file:
                status = os.fstat(file.fileno())
                version = read_state(file), status.st_ino, status.st_mtime_ns
        except (ImgfsError, OSError) as error:
            self._check()
            self._version, self._names = None, describe(error)
            return self._names
        if version != self._version:
            try:
                self._names = read_names(self._open_database, self._namespace)
            except Corrupt as error:
                self._names = describe(error)
            self._version = version
        return self._names

    def _check(self) -> None:
        if not is_root(self._files):
            raise SourceNotFound(f"{self._files.path}: no containerd there")

    def _stored(self) -> set[str]:
        """The digests of the blobs that are there, as far as they are sha256."""
        try:
            return {f"sha256:{name}" for name in self._files.names(_SHA256)}
        except FileNotFoundError:  # before the first blob there is no folder
            return set()

    def _scan(self) -> Iterator[str]:
        """The digests of the blobs that look like image manifests, sorted.

        Raises InvalidImage if there are too many to look at.
        """
        if len(self._blobs) > _MAX_SCANNED:
            raise InvalidImage(f"{self._files.path_of(_SHA256)}: more than {_MAX_SCANNED} blobs")
        for digest in sorted(self._blobs):
            try:
                if _is_manifest(self._files.open(f"{_SHA256}/{digest.removeprefix('sha256:')}")):
                    yield digest
            except (ImgfsError, OSError) as error:
                logger.debug("%s", error)

    def _open_database(self) -> FileBlob:
        return self._files.open(f"{_DATABASE}/meta.db")


def is_root(files: Root) -> bool:
    """Whether a directory is a root of containerd. Raises OSError if that cannot be told."""
    return files.exists(_CONTENT) or files.exists(_DATABASE)


def images_by_namespace(files: Root) -> Mapping[str, int]:
    """How many names of images each namespace of a root has; of none if the database cannot be read."""
    try:
        found = read_names(lambda: files.open(f"{_DATABASE}/meta.db"), None)
    except (ImgfsError, FileNotFoundError) as error:  # reading images says so
        logger.debug("%s", describe(error))
        return {}
    counts = Counter(name.namespace for name in found.names)
    return {namespace: counts[namespace] for namespace in found.namespaces}


def docker_finder(files: Root, reference: str, namespace: str, records: Records) -> ContainerdFinder:
    """Finds the images that Docker keeps in a namespace of containerd's root directory, under the names that it shows,
    and the containers in its `records` that have their files there.

    There may be none yet. Raises SourceNotFound if it is no such root, OSError if it cannot be read.
    """
    return ContainerdFinder(files, reference, namespace, records)


def _finder(rest: str) -> ContainerdFinder:
    """Finds what `containerd:[ROOT][#NAMESPACE]` means. Raises SourceNotFound if there is no such namespace."""
    whole = "#" not in rest or os.path.lexists(rest)
    path, sign, namespace = (rest, "", "") if whole else rest.rpartition("#")
    files = Root(path or DEFAULT_ROOT)
    reference = f"containerd:{files.path}{sign}{namespace}"
    finder = ContainerdFinder(files, reference, namespace if sign else None)
    known = finder.namespaces
    if sign and known is not None and namespace not in known:
        there = f"there are {', '.join(known)}" if known else "there is none"
        raise SourceNotFound(f"{files.path}: no namespace {namespace!r} ({there})")
    return finder


def _is_manifest(file: FileBlob) -> bool:
    """Whether a blob, which is closed, is an image manifest: small, and a JSON object with a config.

    It is only read as far as needed to tell. Raises InvalidImage, StoreError or OSError.
    """
    with file:
        if file.size > MAX_DOCUMENT or not file.pread(64, 0).lstrip().startswith(b"{"):
            return False
        document = parse_document(file.pread(file.size, 0), Document, file.path)
    return not document.is_index and document.config is not None


KIND = DirectoryKind(_finder, is_root)
