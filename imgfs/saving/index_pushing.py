"""Pushing the index of an image in a registry: the parts of the indexes of its layers, which were proved here.

Tried by the tests of `shared_indexes`.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from imgfs.digest import Digest
from imgfs.errors import StoreError
from imgfs.layers.index_file import LayerIndex
from imgfs.layers.index_parts import parts_of
from imgfs.registry.client import MANIFEST_TYPES, Manifest, RemoteRepository
from imgfs.registry.index_artifact import Part, pinned_manifest
from imgfs.registry.index_push import push_index
from imgfs.registry.push import Pusher
from imgfs.sources.documents import parse_document
from imgfs.sources.manifests import Document
from imgfs.sources.shared_indexes import note_index
from imgfs.version import __version__

_BUILDER = f"imgfs {__version__}"


class PushedImage(NamedTuple):
    """An image whose index is pushed: its manifest, as the registry has it, and the indexes of its layers."""

    manifest: bytes
    indexes: list[LayerIndex]


def push_image_index(
    image: PushedImage, repository: RemoteRepository, advance: Callable[[int], None]
) -> Digest:
    """Push the index of an image to a repository; returns its digest. Raises StoreError, or as `push_index` does."""
    parts = [part for index in image.indexes for part in _parts(index)]
    subject = Manifest(Digest.of(image.manifest), _type_of(image.manifest), image.manifest)
    digest = push_index(repository, subject, parts, _BUILDER, advance)
    note_index(repository, subject.digest)
    return digest


def push_pinned(image: PushedImage, index: Digest, repository: RemoteRepository, tag: str) -> Digest:
    """Push a manifest of the same image that names its index, with a tag; returns its digest. Raises RegistryError."""
    data = pinned_manifest(image.manifest, index)
    digest = Digest.of(data)
    Pusher(repository).put_manifest(tag, digest, data, _type_of(image.manifest))
    return digest


def _parts(index: LayerIndex) -> Iterable[Part]:
    layer, parts = Digest(index.header.stored_digest), parts_of(index)
    yield Part(layer, "map", parts.map)
    yield Part(layer, "members", parts.members)
    if parts.files:
        yield Part(layer, "files", parts.files)
    if parts.windows:
        yield Part(layer, "windows", parts.windows)


def _type_of(manifest: bytes) -> str:
    document = parse_document(manifest, Document, "manifest")
    if document.is_index:
        raise StoreError("the manifest is an index of several")
    return document.media_type or MANIFEST_TYPES[1]
