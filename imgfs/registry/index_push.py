"""Pushing the index of an image, so that it is found beside the image.

Format: OCI distribution specification 1.1, "Pushing Manifests with Subject", and "Referrers Tag Schema" for registries
that do not list what refers to a manifest: there the index gets a tag of its own, too, which garbage collection that
deletes what is untagged leaves, and which two who push at once do not take from each other.
Tried by the tests of index artifacts.
"""

import json
from collections.abc import Callable, Sequence

from imgfs.blob import Blob, MemoryBlob
from imgfs.digest import Digest
from imgfs.registry.client import MANIFEST_TYPES, Manifest, RemoteRepository, referrers_tag
from imgfs.registry.index_artifact import TYPE, IndexArtifact, Part, blobs_of, index_manifest, own_tag
from imgfs.registry.push import Pusher
from imgfs.registry.transport import RegistryError

_INDEX, _MANIFEST = MANIFEST_TYPES[:2]
_REFUSED = (400, 405, 415, 422)  # by registries that take no subject, or not every type of artifact


def push_index(
    repository: RemoteRepository,
    subject: Manifest,
    parts: Sequence[Part],
    builder: str,
    advance: Callable[[int], None],
) -> Digest:
    """Push the index of the image with the manifest `subject`; returns its digest. Pushing it again changes nothing.

    `builder` is the program that made it; `advance` is called with numbers of bytes sent. Raises RegistryError, whose
    message says so where the registry takes no such artifacts.
    """
    pusher = Pusher(repository)
    pusher.reach()
    for digest, data in blobs_of(parts).items():
        if not pusher.has_blob(digest, len(data)):
            pusher.upload(digest, MemoryBlob(data), advance)
    without = index_manifest(subject, parts, builder, refers=False)
    return _place(pusher, repository, subject.digest, index_manifest(subject, parts, builder), without)


def copy_index(
    artifact: IndexArtifact, subject: Digest, repository: RemoteRepository, advance: Callable[[int], None]
) -> Digest:
    """Copy the index of the image with the manifest `subject` to another repository; returns its digest there.

    It is pushed as `push_index` does it, which says what is raised; Corrupt if a part has another digest.
    """
    pusher = Pusher(repository)
    blobs: dict[Digest, Blob] = {digest: MemoryBlob(data) for digest, data in blobs_of([]).items()}
    for parts in artifact.parts.values():
        for part in parts.values():
            blobs[part.digest] = artifact.repository.blob(part.digest, part.size)
    for digest, blob in blobs.items():
        with blob:
            if not pusher.has_blob(digest, blob.size):
                pusher.upload(digest, blob, advance, artifact.repository.name)
    document = json.loads(artifact.manifest)
    document.pop("subject", None)
    without = json.dumps(document, separators=(",", ":")).encode()
    return _place(pusher, repository, subject, artifact.manifest, without)


def _place(
    pusher: Pusher, repository: RemoteRepository, subject: Digest, manifest: bytes, without: bytes
) -> Digest:
    """Push the manifest of an index, or where that is refused, the one `without` subject; returns its digest."""
    digest = Digest.of(manifest)
    try:
        if pusher.put_manifest(digest, digest, manifest, _MANIFEST):
            return digest
    except RegistryError as error:
        if error.status not in _REFUSED:
            raise
        digest = Digest.of(without)
        try:
            pusher.put_manifest(own_tag(subject), digest, without, _MANIFEST)
        except RegistryError as second:
            hint = "it takes no artifacts of this type; --index-repo HOST/REPO puts the index elsewhere"
            raise RegistryError(f"{second} ({hint})", second.status) from None
        return digest
    pusher.put_manifest(own_tag(subject), digest, manifest, _MANIFEST)
    _list(pusher, repository, subject, digest, len(manifest))
    return digest


def _list(pusher: Pusher, repository: RemoteRepository, subject: Digest, digest: Digest, size: int) -> None:
    """Add an index to the list of what refers to its subject, as the registry does not do that."""
    listed = [each for each in repository.tagged_referrers(subject) if each.get("digest") != digest]
    listed.append({"mediaType": _MANIFEST, "digest": digest, "size": size, "artifactType": TYPE})
    document = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": listed}
    data = json.dumps(document, separators=(",", ":")).encode()
    pusher.put_manifest(referrers_tag(subject), Digest.of(data), data, _INDEX)
