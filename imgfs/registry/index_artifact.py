"""The index of an image in a registry: an artifact that refers to the image's manifest and holds parts for each layer.

Form: an OCI image manifest with `subject`, whose layers are the parts, each with the digest of the image's layer in an
annotation. It is found by the referrers of the manifest, or where a registry lists none, by the tag
`ALGORITHM-HEX.imgfs`. Equal parts give equal bytes.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from imgfs.blob import Blob, MemoryBlob
from imgfs.digest import Digest
from imgfs.errors import Corrupt, InvalidDigest, InvalidImage, NotFound
from imgfs.go_json import parse_json
from imgfs.registry.client import MANIFEST_TYPES, Manifest, RemoteRepository, referrers_tag

TYPE = "application/vnd.imgfs.index.v1"
KINDS: Mapping[str, str] = {
    "map": "application/vnd.imgfs.layer.map.v1",
    "members": "application/vnd.imgfs.layer.members.v1+zstd",
    "files": "application/vnd.imgfs.layer.files.v1",
    "windows": "application/vnd.imgfs.layer.windows.v1",
}
"""The parts that there are of a layer's index, and their media types."""
PIN = "org.imgfs.index.digest"
"""The annotation of an image's manifest with the digest of its index."""

_LAYER, _SUBJECT, _VERSION = "org.imgfs.layer.digest", "org.imgfs.index.subject", "org.imgfs.index.version"
_CREATED = "org.opencontainers.image.created"
_CONFIG = b"{}"
_EMBEDDED = 2048  # bytes below which a part stands in the manifest itself
_LARGEST_PART = 256 << 20
_MOST_FOUND = 8  # artifacts of one manifest that are looked at


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str = ""
    size: int = -1
    media_type: str = ""
    annotations: dict[str, object] = {}
    data: str = ""


class _Manifest(msgspec.Struct, rename="camel"):
    artifact_type: str = ""
    config: _Descriptor = msgspec.field(default_factory=_Descriptor)
    layers: list[_Descriptor] = []
    subject: _Descriptor = msgspec.field(default_factory=_Descriptor)
    annotations: dict[str, object] = {}


class Part(msgspec.Struct, frozen=True):
    """A part of the index of the layer with the digest `layer`: its `kind` is one of KINDS."""

    layer: Digest
    kind: str
    data: bytes


class StoredPart(msgspec.Struct, frozen=True):
    """A part as an artifact describes it; `data` is empty unless the manifest holds it."""

    digest: Digest
    size: int
    data: bytes = b""


@dataclass(frozen=True)
class IndexArtifact:
    """An index in `repository`: the parts of each layer by their kinds. `manifest` is its own, of digest `digest`."""

    repository: RemoteRepository
    digest: Digest
    manifest: bytes = field(repr=False)
    parts: Mapping[Digest, Mapping[str, StoredPart]]

    def read(self, layer: Digest, kind: str) -> bytes | None:
        """A part whole, verified and kept in the cache; None if there is none.

        Raises Corrupt if it is another one or too large, and what reading a blob raises.
        """
        part = self.parts.get(layer, {}).get(kind)
        if part is None:
            return None
        if part.size > _LARGEST_PART:
            raise Corrupt(f"index {self.digest}: its {kind} of layer {layer} has {part.size} bytes, too many")
        return part.data if len(part.data) == part.size else self.repository.read(part.digest, part.size)

    def open(self, layer: Digest, kind: str) -> Blob | None:
        """A part to be read by ranges, which are not verified; None if there is none."""
        part = self.parts.get(layer, {}).get(kind)
        if part is None:
            return None
        if len(part.data) == part.size:
            return MemoryBlob(part.data)
        return self.repository.blob(part.digest, part.size)


def index_manifest(subject: Manifest, parts: Sequence[Part], builder: str, *, refers: bool = True) -> bytes:
    """The manifest of an index of the image with the manifest `subject`; `builder` is the program that made it.

    It has no `subject` unless it `refers`, for registries that take none.
    """
    named = {"mediaType": subject.media_type, "digest": subject.digest, "size": len(subject.data)}
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPES[1],
        "artifactType": TYPE,
        "config": {"mediaType": TYPE, "digest": Digest.of(_CONFIG), "size": len(_CONFIG)},
        "layers": [_describe(part) for part in parts],
    }
    if refers:
        document["subject"] = named
    document["annotations"] = {
        _VERSION: "1",
        _SUBJECT: subject.digest,
        "org.imgfs.index.builder": builder,
        _CREATED: "1970-01-01T00:00:00Z",  # so that pushing twice gives the same digest
    }
    return json.dumps(document, separators=(",", ":")).encode()


def blobs_of(parts: Sequence[Part]) -> dict[Digest, bytes]:
    """The blobs that an index of these parts consists of, besides its manifest."""
    return {Digest.of(_CONFIG): _CONFIG} | {Digest.of(part.data): part.data for part in parts}


def own_tag(subject: Digest) -> str:
    """The tag of an index itself, where a registry does not list what refers to a manifest."""
    return f"{referrers_tag(subject)}.imgfs"


def find_index(repository: RemoteRepository, subject: Digest) -> IndexArtifact | None:
    """The index of an image that is found beside it, made by any that may push to the repository.

    None if there is none that is of that image and of this version. Raises what asking the registry raises.
    """
    found = repository.referrers(subject, TYPE)
    digests = dict.fromkeys(str(each["digest"]) for each in found)
    for reference in (*list(digests)[:_MOST_FOUND], own_tag(subject)):
        try:
            artifact = parse_index(repository, repository.manifest(reference), subject)
        except (NotFound, InvalidImage):
            continue
        if artifact is not None:
            return artifact
    return None


def read_index(repository: RemoteRepository, digest: Digest) -> IndexArtifact:
    """The index with a digest, of whichever image. Raises InvalidImage if it is none, and as `find_index` does."""
    artifact = parse_index(repository, repository.manifest(digest), None)
    if artifact is None:
        raise InvalidImage(f"docker://{repository.name}@{digest}: not an index of an image")
    return artifact


def parse_index(
    repository: RemoteRepository, manifest: Manifest, subject: Digest | None
) -> IndexArtifact | None:
    """The index that a manifest describes, None if it is none, or not of the image `subject`. Raises InvalidImage."""
    name = f"docker://{repository.name}@{manifest.digest}"
    document = parse_json(manifest.data, _Manifest, name)
    is_index = TYPE in (document.artifact_type, document.config.media_type)
    if not is_index or document.annotations.get(_VERSION) != "1":
        return None
    named = {document.annotations.get(_SUBJECT), document.subject.digest or subject}
    if subject is not None and named != {subject}:
        return None
    kinds = {media_type: kind for kind, media_type in KINDS.items()}
    parts: dict[Digest, dict[str, StoredPart]] = {}
    for each in document.layers:
        kind = kinds.get(each.media_type)
        try:
            layer, digest = Digest(str(each.annotations.get(_LAYER))), Digest(each.digest)
        except InvalidDigest as error:
            raise InvalidImage(f"{name}: {error}") from None
        if kind is not None and each.size >= 0:
            parts.setdefault(layer, {}).setdefault(
                kind, StoredPart(digest, each.size, _embedded(each, digest))
            )
    return IndexArtifact(repository, manifest.digest, manifest.data, parts)


def pinned_in(manifest: bytes) -> Digest | None:
    """The digest of the index that an image's own manifest names in its annotations, None if it names none."""
    if PIN.encode() not in manifest:
        return None
    try:
        return Digest(str(parse_json(manifest, _Manifest, "manifest").annotations.get(PIN)))
    except (InvalidDigest, InvalidImage):
        return None


def pinned_manifest(manifest: bytes, index: Digest) -> bytes:
    """The manifest of the same image that pins an index. Raises InvalidImage if it does not parse."""
    document = parse_json(manifest, dict[str, Any], "manifest")
    annotations = document.get("annotations")
    document["annotations"] = (annotations if isinstance(annotations, dict) else {}) | {PIN: index}
    return json.dumps(document, separators=(",", ":")).encode()


def _describe(part: Part) -> dict[str, object]:
    described: dict[str, object] = {
        "mediaType": KINDS[part.kind],
        "digest": Digest.of(part.data),
        "size": len(part.data),
        "annotations": {_LAYER: part.layer},
    }
    if len(part.data) < _EMBEDDED:
        described["data"] = base64.b64encode(part.data).decode()
    return described


def _embedded(descriptor: _Descriptor, digest: Digest) -> bytes:
    """The bytes that a descriptor holds; none if they are not those that it describes."""
    try:
        data = base64.b64decode(descriptor.data, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if len(data) == descriptor.size and digest.is_of(data) else b""
