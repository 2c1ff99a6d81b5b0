"""OCI image layouts, with layers as uncompressed tars, whose digests are the diff IDs.

Format: OCI image specification, image-layout.md and manifest.md; the name that containerd and Docker load an image
under is in an annotation of containerd's.
Tried by the tests of `imgfs save`, and with engines.
"""

from collections.abc import Iterable, Iterator

from imgfs.digest import Digest
from imgfs.saving.entry import (
    Entry,
    SavedImage,
    data_entry,
    encode_json,
    json_entry,
    layer_entry,
    loadable_name,
)
from imgfs.sources.reference import qualified_name

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_REF_NAME = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME = "io.containerd.image.name"


def oci_layout_entries(images: Iterable[SavedImage]) -> Iterator[Entry]:
    """The files of a layout of some images; blobs that several have are in it once. Raises as `layer_entry` does."""
    yield json_entry("oci-layout", {"imageLayoutVersion": "1.0.0"})
    descriptors: list[dict[str, object]] = []
    written: set[Digest] = set()
    for saved in images:
        layers = []
        for number, diff_id in enumerate(saved.layers.diff_ids):
            entry = layer_entry(_path(diff_id), saved.layers, number)
            layers.append(_descriptor(_LAYER, diff_id, entry.size))
            if diff_id not in written:
                written.add(diff_id)
                yield entry
        config = saved.image.raw_config
        manifest = encode_json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": _descriptor(_CONFIG, saved.image.id, len(config)),
                "layers": layers,
            }
        )
        digest = Digest.of(manifest)
        for blob, data in ((saved.image.id, config), (digest, manifest)):
            if blob not in written:
                written.add(blob)
                yield data_entry(_path(blob), data)
        described = _descriptor(_MANIFEST, digest, len(manifest)) | {"platform": _platform(saved)}
        descriptors += [described | {"annotations": _annotations(name)} for name in saved.names] or [
            described
        ]
    yield json_entry("index.json", {"schemaVersion": 2, "mediaType": _INDEX, "manifests": descriptors})


def _descriptor(media_type: str, digest: Digest, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _platform(saved: SavedImage) -> dict[str, str]:
    platform = saved.image.platform
    found = {"architecture": platform.architecture, "os": platform.os}
    return found | ({"variant": platform.variant} if platform.variant else {})


def _annotations(name: str) -> dict[str, str]:
    full = loadable_name(name)
    return {_REF_NAME: name} | ({_CONTAINERD_NAME: qualified_name(full)} if full else {})
