"""Images of containerd, read in its root directory while it runs; the daemon is not asked.

Format: containerd, docs/ops.md and content/local: names lie in a bolt database, blobs below a folder as in an OCI
layout. Only what was pulled is there: often one platform of many, and no layers where they were discarded
after unpacking. A name that is in several namespaces means the image of the one that sorts first (`default`
before `k8s.io` before `moby`).
"""

import os
from collections.abc import Iterator
from dataclasses import replace

from imgfs.blob import Blob, FileBlob, Root
from imgfs.digest import Digest, ImageID
from imgfs.errors import Corrupt, ImgfsError, SourceNotFound, StoreError, describe
from imgfs.layers import Indexer
from imgfs.sources.catalog import CatalogSource, Found, FoundImage, Report
from imgfs.sources.checks import named_blobs
from imgfs.sources.containerd.bolt import State, read_state
from imgfs.sources.containerd.names import Name, Names, read_names
from imgfs.sources.manifests import Descriptor, ManifestWalk
from imgfs.sources.names import familiar_name
from imgfs.sources.scan import scan_manifests
from imgfs.sources.source import Check, Source
from imgfs.sources.young import now_while_young

DEFAULT_ROOT = "/var/lib/containerd"
_CONTENT = "io.containerd.content.v1.content"
_DATABASE = "io.containerd.metadata.v1.bolt"
_BLOBS = f"{_CONTENT}/blobs"


def open_store(rest: str, indexer: Indexer) -> Source:
    """The source `containerd:[ROOT][#NAMESPACE]`: all namespaces, or one.

    Raises SourceNotFound if ROOT is no root of containerd or has no such namespace, OSError if it cannot be read.
    """
    whole = "#" not in rest or os.path.lexists(rest)
    path, sign, namespace = (rest, "", "") if whole else rest.rpartition("#")
    root = _Root(Root(path or DEFAULT_ROOT), namespace if sign else None)
    if sign:
        root.check_namespace()
    return _open(root, f"containerd:{root.path}{sign}{namespace}", indexer)


def open_docker(root: Root, reference: str, indexer: Indexer) -> Source:
    """The images that Docker keeps in containerd's root directory `root`, under the names that docker shows.

    There may be none yet. Raises SourceNotFound if it is no such root, OSError if it cannot be read.
    """
    return _open(_Root(root, "moby", familiar=True), reference, indexer)


def is_root(path: str) -> bool:
    """Whether `path` is a root of containerd. Raises OSError if that cannot be told."""
    return _is_root(Root(path))


def _is_root(root: Root) -> bool:
    return root.exists(_CONTENT) or root.exists(_DATABASE)


def _open(root: "_Root", reference: str, indexer: Indexer) -> Source:
    return CatalogSource(
        reference,
        indexer,
        root.find,
        root.stamp,
        root.close,
        writers=[root.writer],
        folder=root.path,
        checks=root.checks,
    )


class _Root:
    """A root directory of containerd, or one namespace of it."""

    def __init__(self, files: Root, namespace: str | None, *, familiar: bool = False) -> None:
        self.path = files.path
        self._files = files
        self._check()
        self.writer = files.writer
        self._namespace = namespace
        self._familiar = familiar
        self._version: tuple[State, int, int] | None = None
        self._names: Names | str = ""

    def close(self) -> None:
        """Let go of the directory."""
        self._files.close()

    def check_namespace(self) -> None:
        """Raises SourceNotFound if the namespace is not there."""
        names = self._read()
        if isinstance(names, Names) and self._namespace not in names.namespaces:
            known = f"there are {', '.join(names.namespaces)}" if names.namespaces else "there is none"
            raise SourceNotFound(f"{self.path}: no namespace {self._namespace!r} ({known})")

    def stamp(self) -> object:
        """Changes when a name does, or when blobs come or go."""
        self._files.follow()
        try:
            modified = self._files.stat(f"{_BLOBS}/sha256").st_mtime_ns
        except (FileNotFoundError, StoreError):
            modified = 0
        return self._read(), modified, now_while_young([modified])

    def find(self, report: Report) -> Iterator[Found]:
        """Every image whose manifest and config are there."""
        names = self._read()
        if isinstance(names, str):
            report(f"its names cannot be read, so images are found by scanning its blobs: {names}")
            walk = self._walk(report)
            for digest in scan_manifests(self._files.below(f"{_BLOBS}/sha256")):
                yield from walk.images(Descriptor(digest), ())
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
        walk = self._walk(report)
        targets = {
            digest: self._first_id(walk, digest) for digest in set(parents.values()) & by_digest.keys()
        }
        for digest, named in by_digest.items():
            tags = [tag for tag in (self._tag(name.name) for name in named) if tag]
            for found in walk.images(Descriptor(digest), tags):
                if isinstance(found, FoundImage):
                    found = replace(found, parent=targets.get(parents[digest]))
                yield found

    def checks(self) -> Iterator[Check]:
        """Each blob that a name leads to."""
        names = self._read()
        found = names.names if isinstance(names, Names) else ()
        return named_blobs(self._open_blob, [Descriptor(name.digest) for name in found])

    def _first_id(self, walk: ManifestWalk, digest: str) -> ImageID | None:
        found = walk.images(Descriptor(digest), ())
        return next((ImageID.of(image.config) for image in found if isinstance(image, FoundImage)), None)

    def _walk(self, report: Report) -> ManifestWalk:
        return ManifestWalk(self._open_blob, self.path, report, is_partial=True)

    def _tag(self, name: str) -> str | None:
        """What an image is called here; None for names that engines give to images without one."""
        if name.startswith("sha256:") or (self._familiar and name.startswith("moby-dangling@")):
            return None
        return familiar_name(name) if self._familiar else name

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
        if not _is_root(self._files):
            raise SourceNotFound(f"{self.path}: no containerd there")

    def _open_blob(self, digest: Digest) -> Blob:
        return self._files.open(f"{_BLOBS}/{digest.algorithm}/{digest.hex}")

    def _open_database(self) -> FileBlob:
        return self._files.open(f"{_DATABASE}/meta.db")
