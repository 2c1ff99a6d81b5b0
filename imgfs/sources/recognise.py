"""Which kind of source a bare path is, by what lies there."""

import os
from collections.abc import Iterable

from imgfs.blob import FileBlob, Root
from imgfs.errors import ImgfsError, SourceNotFound, StoreError
from imgfs.sources.containerd.store import is_root
from imgfs.sources.containers_storage.store import is_graph_root
from imgfs.sources.docker.store import is_docker_root
from imgfs.sources.files import ArchiveFiles
from imgfs.sources.own.store import is_own_store

_USUAL = ("var/lib/docker", "var/lib/containers/storage", "var/lib/containerd")
"""Where engines keep images, below the top of a disk."""


def recognise(path: str, schemes: Iterable[str]) -> str:
    """The scheme that opens `path`.

    Raises SourceNotFound if nothing is there, StoreError if nothing known; OSError if it cannot be looked at.
    """
    if not os.path.lexists(path):
        hint = f" (sources are {', '.join(f'{scheme}:…' for scheme in schemes)} or a path)"
        raise SourceNotFound(f"{path}: no such source{hint}")
    if os.path.isdir(path):
        scheme = _scheme(path)
        if scheme is None:
            inside = [place for place in (os.path.join(path, usual) for usual in _USUAL) if _scheme(place)]
            hint = f" (but {', '.join(inside)} is one)" if inside else ""
            raise StoreError(f"{path}: neither an image layout nor a store of images that imgfs knows{hint}")
        return scheme
    try:
        with_names = ArchiveFiles(FileBlob(path), path)
    except ImgfsError as error:
        why = str(error).removeprefix(f"{path}: ")
        raise StoreError(f"{path}: not an archive of images: {why}") from None
    try:
        for name, scheme in (("manifest.json", "docker-archive"), ("index.json", "oci-archive")):
            if name in with_names:
                return scheme
    finally:
        with_names.close()
    raise StoreError(f"{path}: a tar, but neither made by docker save nor an OCI archive")


def _scheme(folder: str) -> str | None:
    if is_own_store(folder):
        return "imgfs"
    if Root(folder).exists("index.json"):
        return "oci"
    if is_docker_root(folder):
        return "docker"
    if is_graph_root(folder):
        return "containers-storage"
    return "containerd" if is_root(folder) else None
