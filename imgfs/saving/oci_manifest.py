"""Manifests of Docker's form as OCI has them, for layouts.

Tools that read layouts do not take Docker's: umoci refuses them, and skopeo and podman find none of them by its name.
Only media types differ, so the config and the layers keep their digests.
Format: OCI image specification, manifest.md and media-types.md, and Docker's image manifest, version 2, schema 2.
Tried by the tests of what is shown as layouts.
"""

from imgfs.saving.entry import encode_json
from imgfs.saving.piece import CONFIG, LAYER, MANIFEST, Kind, Piece, document_piece
from imgfs.sources.manifests import Descriptor, Document

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

_DOCKER_LAYER = "application/vnd.docker.image.rootfs."
_LAYERS = {"diff.tar": LAYER, "foreign.diff.tar": "application/vnd.oci.image.layer.nondistributable.v1.tar"}
"""The media types of layers that are not compressed, by what Docker's end with."""


def oci_manifest(manifest: Piece, document: Document) -> Piece:
    """A manifest of an image, which says `document`, as layouts have it."""
    if manifest.media_type != DOCKER_MANIFEST or document.config is None:
        return manifest
    layers = [_described(layer, _oci_type(layer.kind)) for layer in document.layers or ()]
    config = _described(document.config, CONFIG)
    content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
    return document_piece(Kind.MANIFEST, MANIFEST, encode_json(content))


def _described(blob: Descriptor, media_type: str) -> dict[str, object]:
    described = {"mediaType": media_type, "digest": blob.digest, "size": blob.size, "urls": blob.urls}
    return {key: value for key, value in described.items() if value is not None}


def _oci_type(kind: str) -> str:
    """The media type of a layer as OCI has it; one that is not Docker's stays."""
    plain, tar, compression = kind.removeprefix(_DOCKER_LAYER).partition(".tar")
    found = _LAYERS.get(plain + tar)
    return found + compression.replace(".", "+") if found else kind
