"""Images of an OCI image layout, in a directory or inside an archive.

Format: OCI image specification, image-layout.md, image-index.md, manifest.md. Indexes may nest; the walk visits
each descriptor once, so one that leads back to itself ends. Every platform's image is found.
"""

import logging
import os
import platform
from collections.abc import Iterator
from functools import partial

import msgspec

from imgfs.blob import Blob, FileBlob
from imgfs.digest import Digest
from imgfs.errors import ImgfsError, InvalidImage, describe
from imgfs.layers import Indexer
from imgfs.sources.catalog import CatalogSource, FoundImage, FoundLayer, Report
from imgfs.sources.documents import parse_document, read_document
from imgfs.sources.files import ArchiveFiles, DirectoryFiles, Files
from imgfs.sources.source import Source

logger = logging.getLogger("imgfs")

_MAX_MANIFESTS = 10_000
_IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "",
)


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    media_type: str = ""
    annotations: dict[str, str] | None = None
    platform: _Platform | None = None


class _Document(msgspec.Struct):
    """An index (`manifests`) or an image manifest (`config` and `layers`); told apart by what it holds."""

    manifests: list[_Descriptor] | None = None
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None


def open_layout(path: str, tag: str | None, indexer: Indexer) -> Source:
    """The source `oci:PATH[:TAG]`; with a tag, only the images it names.

    Raises InvalidImage if `path` is no image layout, OSError if it cannot be read.
    """
    files = DirectoryFiles(path)
    index = os.path.abspath(os.path.join(path, "index.json"))  # a process in the background works elsewhere

    def stamp() -> object:
        status = os.stat(index)
        return status.st_mtime_ns, status.st_ino, status.st_size

    return CatalogSource(_reference("oci", path, tag), indexer, partial(find_images, files, path, tag), stamp)


def open_archive(path: str, tag: str | None, indexer: Indexer) -> Source:
    """The source `oci-archive:FILE[:TAG]`: a layout in an uncompressed tar, read in place."""
    files = ArchiveFiles(FileBlob(path), path)
    find = partial(find_images, files, path, tag)
    try:
        return CatalogSource(_reference("oci-archive", path, tag), indexer, find, lambda: None, files.close)
    except BaseException:
        files.close()
        raise


def _reference(scheme: str, path: str, tag: str | None) -> str:
    return f"{scheme}:{path}" + (f":{tag}" if tag else "")


def find_images(files: Files, path: str, tag: str | None, report: Report) -> Iterator[FoundImage]:
    """Every image that the layout's index leads to, in its order; what is broken is reported and left out.

    Raises InvalidImage if there is no readable index, or nothing called `tag`.
    """
    index = _parse(read_document(files.open("index.json"), f"{path}/index.json"), f"{path}/index.json")
    if index.manifests is None:
        raise InvalidImage(f"{path}/index.json: no manifests")
    walk = _Walk(files, path, report)
    named = [descriptor for descriptor in index.manifests if tag in (None, _tag(descriptor))]
    if tag is not None and not named:
        raise InvalidImage(f"{path}: no image is tagged {tag!r}")
    for descriptor in _this_platform_first(named):
        yield from walk.images(descriptor, _tag(descriptor))


class _Walk:
    """Follows descriptors down from an index."""

    def __init__(self, files: Files, path: str, report: Report) -> None:
        self._files = files
        self._path = path
        self._report = report
        self._visited: set[tuple[str, str | None]] = set()

    def images(self, descriptor: _Descriptor, tag: str | None) -> Iterator[FoundImage]:
        """The images below a descriptor; the first of them carries the tag."""
        waiting = [descriptor]
        while waiting:
            descriptor = waiting.pop()
            if (descriptor.digest, tag) in self._visited or _is_attestation(descriptor):
                continue
            if len(self._visited) >= _MAX_MANIFESTS:
                raise InvalidImage(f"{self._path}: more than {_MAX_MANIFESTS} manifests")
            self._visited.add((descriptor.digest, tag))
            try:
                data = self._read(descriptor)
                document = _parse(data, f"{self._path}: {descriptor.digest}")
                if document.manifests is not None:
                    waiting.extend(reversed(_this_platform_first(document.manifests)))
                    continue
                image = self._image(descriptor, document, data, tag)
            except (ImgfsError, OSError) as error:
                self._report(f"skipping manifest {descriptor.digest}: {describe(error)}")
                continue
            if image is not None:
                yield image
                tag = None

    def _image(
        self, descriptor: _Descriptor, manifest: _Document, data: bytes, tag: str | None
    ) -> FoundImage | None:
        if manifest.config is None or manifest.layers is None:
            raise InvalidImage("neither an index nor an image manifest")
        if manifest.config.media_type not in _IMAGE_CONFIGS:
            logger.debug("%s: %s is an artifact, not an image", self._path, descriptor.digest)
            return None
        layers = []
        for layer in manifest.layers:
            digest = Digest(layer.digest)
            layers.append(FoundLayer(partial(self._open_blob, digest), digest))
        return FoundImage(self._read(manifest.config), layers, [tag] if tag else [], manifest=data)

    def _read(self, descriptor: _Descriptor) -> bytes:
        digest = Digest(descriptor.digest)
        return read_document(self._open_blob(digest), f"blob {digest}", digest)

    def _open_blob(self, digest: Digest) -> Blob:
        return self._files.open(f"blobs/{digest.algorithm}/{digest.hex}")


def _parse(data: bytes, name: str) -> _Document:
    return parse_document(data, _Document, name)


def _tag(descriptor: _Descriptor) -> str | None:
    annotations = descriptor.annotations or {}
    return annotations.get("io.containerd.image.name") or annotations.get("org.opencontainers.image.ref.name")


def _is_attestation(descriptor: _Descriptor) -> bool:
    annotations = descriptor.annotations or {}
    return annotations.get("vnd.docker.reference.type") == "attestation-manifest"


def _this_platform_first(descriptors: list[_Descriptor]) -> list[_Descriptor]:
    """The same descriptors, those for this machine before others: a tag on an index means that image here."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

    def is_other(descriptor: _Descriptor) -> bool:
        wanted = descriptor.platform
        return wanted is not None and (wanted.os, wanted.architecture) != ("linux", machine)

    return sorted(descriptors, key=is_other)
