"""Where images come from: one file or package a kind of source, all of them in the tables below.

References are written as skopeo writes its transports, `SCHEME:REST`; a bare path is recognised by what lies
there.
"""

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Generic, TypeVar

import platformdirs

from imgfs.blob import FileBlob, Root
from imgfs.errors import ImgfsError, SourceNotFound, StoreError
from imgfs.layers import Indexer
from imgfs.registry.reference import PREFIX, is_registry_reference
from imgfs.sources.registries import Registries
from imgfs.sources.source import Source

if TYPE_CHECKING:
    from imgfs.sources.kind import ArchiveKind, DirectoryKind

__all__ = [
    "ARCHIVES",
    "DIRECTORIES",
    "KINDS",
    "SCHEMES",
    "Source",
    "default_sources",
    "has_no_place",
    "is_source",
    "open_archive",
    "open_source",
]

K = TypeVar("K", "DirectoryKind", "ArchiveKind")


@dataclass(frozen=True)
class Kind(Generic[K]):
    """A kind of sources, written `SCHEME:REST`, where REST may be empty if `has_default`.

    `module` has it as `name`, and is imported when the first such source is opened.
    """

    scheme: str
    module: str
    name: str = "KIND"
    has_default: bool = False

    def load(self) -> K:
        """The kind itself."""
        found: K = getattr(import_module(f"{__name__}.{self.module}"), self.name)
        return found

    def open(self, rest: str, indexer: Indexer) -> Source:
        """The source. Raises SourceNotFound, StoreError, Corrupt, InvalidImage or OSError."""
        return self.load().open(rest, indexer)


DIRECTORIES: "Sequence[Kind[DirectoryKind]]" = (
    Kind("imgfs", "own", has_default=True),
    Kind("oci", "oci", "LAYOUT"),
    Kind("docker", "docker", has_default=True),
    Kind("containers-storage", "containers_storage", has_default=True),
    Kind("containerd", "containerd", has_default=True),
)
"""The kinds of sources that are directories, in the order in which a bare path is compared with them."""

ARCHIVES: "Sequence[Kind[ArchiveKind]]" = (
    Kind("docker-archive", "docker_archive"),
    Kind("oci-archive", "oci", "ARCHIVE"),
)
"""The kinds of sources that are archives, in the order in which an archive is compared with them."""

KINDS: "Sequence[Kind[DirectoryKind] | Kind[ArchiveKind]]" = (*DIRECTORIES, *ARCHIVES)
"""Every kind of source that has a place on this machine."""

SCHEMES: Mapping[str, Callable[[str, Indexer], Source]] = {kind.scheme: kind.open for kind in KINDS}

_USUAL = ("var/lib/docker", "var/lib/containers/storage", "var/lib/containerd")
"""Where engines keep images, below the top of a disk."""


def default_sources() -> list[str]:
    """The stores that a machine may have in their default places, as references, such as `containerd:`.

    An ordinary user may have stores of rootless Docker and containerd besides, and root one of Podman.
    """
    found = [f"{kind.scheme}:" for kind in KINDS if kind.has_default]
    if os.geteuid() != 0:
        found += (f"{scheme}:{platformdirs.user_data_dir(scheme)}" for scheme in ("docker", "containerd"))
        found.append(f"containers-storage:/{_USUAL[1]}")
    return found


def has_no_place(reference: str) -> bool:
    """Whether a reference leaves it to the source where its images lie."""
    return any(reference == f"{kind.scheme}:" for kind in KINDS if kind.has_default)


def open_source(reference: str, indexer: Indexer, registries: Registries | None = None) -> Source:
    """Open a source from its reference, such as `oci:/srv/layout:latest`, or a bare path.

    `indexer` makes its compressed layers readable at random; `registries` is how a registry is reached.

    Raises SourceNotFound, StoreError or InvalidImage if there is no such source, OSError if it cannot be read.
    """
    scheme, colon, rest = reference.partition(":")
    if is_registry_reference(reference):
        # here, as what talks to registries takes long to import
        from imgfs.sources.registry import open_registry

        source = open_registry(reference, indexer, registries or Registries(indexer.indexes.cache))
    elif colon and scheme in SCHEMES:
        source = SCHEMES[scheme](rest, indexer)
    elif not os.path.lexists(reference):
        if reference.startswith(("/", "./", "../")):
            raise SourceNotFound(f"{reference}: {os.strerror(errno.ENOENT)}")
        known = ", ".join([*(f"{scheme}:…" for scheme in SCHEMES), f"{PREFIX}…"])
        hint = f" (sources are {known} or a path)"
        raise SourceNotFound(f"{reference}: no such source{hint}")
    elif os.path.isdir(reference):
        source = _open_directory(reference, indexer)
    else:
        source = _open_archive(reference, partial(FileBlob, reference), indexer)
    indexer.serve(source.writers)
    return source


def open_archive(file: FileBlob, indexer: Indexer) -> Source:
    """Open the source in an archive that is open already, which is the source's to close; errors call it `file.path`.

    Raises StoreError or InvalidImage if it is no such archive, OSError if it cannot be read.
    """
    source = _open_archive(file.path, lambda: file, indexer)
    indexer.serve(source.writers)
    return source


def is_source(path: str) -> bool:
    """Whether a path is taken for a source: any file, and a directory that is one. Raises OSError."""
    return not os.path.isdir(path) or _kind_at(path) is not None


def _open_archive(path: str, open_file: Callable[[], FileBlob], indexer: Indexer) -> Source:
    from imgfs.sources.archive import open_archive_files  # here, as few sources are archives

    try:
        files = open_archive_files(open_file(), indexer)
    except ImgfsError as error:
        why = str(error).removeprefix(f"{path}: ")
        raise StoreError(f"{path}: not an archive of images: {why}") from None
    for kind in (each.load() for each in ARCHIVES):
        if files.exists(kind.index):
            return kind.open_files(files, indexer)
    files.close()
    raise StoreError(
        f"{path}: a tar, but neither made by docker save nor an OCI archive (imgfs import takes it)"
    )


def _open_directory(path: str, indexer: Indexer) -> Source:
    kind = _kind_at(path)
    if kind is None:
        inside = [place for place in (os.path.join(path, usual) for usual in _USUAL) if _kind_at(place)]
        hint = f" (but {', '.join(inside)} is one)" if inside else ""
        raise StoreError(f"{path}: neither an image layout nor a store of images that imgfs knows{hint}")
    return kind.open(path, indexer)


def _kind_at(path: str) -> "DirectoryKind | None":
    directories = (each.load() for each in DIRECTORIES)
    return next((kind for kind in directories if kind.is_at(Root(path))), None)
