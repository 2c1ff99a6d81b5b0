"""OCI image layouts: the files of one, of images as they were found or made.

Format: OCI image specification, image-layout.md; the name that containerd and Docker load an image under is in an
annotation of containerd's.
Tried by the tests of `imgfs save` and `imgfs copy`, and with engines.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from imgfs.digest import Digest
from imgfs.saving.entry import Entry, json_entry, loadable_name
from imgfs.saving.piece import INDEX, Piece
from imgfs.saving.saved_image import SavedImage
from imgfs.sources.reference import qualified_name

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"

LAYOUT = {"imageLayoutVersion": "1.0.0"}
"""What the file `oci-layout` says."""


def oci_layout_entries(images: Iterable[SavedImage]) -> Iterator[Entry]:
    """The files of a layout of some images; blobs that several have are in it once."""
    yield json_entry("oci-layout", LAYOUT)
    descriptors: list[dict[str, object]] = []
    written: set[Digest] = set()
    for saved in images:
        for piece in saved.pieces.in_layout:
            if piece.digest not in written:
                written.add(piece.digest)
                yield piece_entry(piece)
        descriptors += image_descriptors(saved)
    yield json_entry("index.json", new_index(descriptors))


def image_descriptors(saved: SavedImage) -> list[dict[str, object]]:
    """What the index of a layout has of an image: its manifest under each of its names, or once without one."""
    platform = {"platform": _platform(saved)}
    return named_descriptors(saved.pieces.oci_manifest.descriptor | platform, saved.names)


def named_descriptors(descriptor: dict[str, object], names: Iterable[str]) -> list[dict[str, object]]:
    """A descriptor under each of some names, or if there are none, as it is."""
    return [descriptor | {"annotations": _annotations(name)} for name in names] or [descriptor]


def piece_entry(piece: Piece, mode: int = 0o644) -> Entry:
    """The file of a layout that a piece is."""
    return Entry(blob_path(piece.digest), piece.size, piece.open_verified, mode)


def blob_path(digest: Digest) -> str:
    """Where a layout has a blob."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def with_image(index: dict[str, Any], top: Piece, tag: str) -> dict[str, Any]:
    """The `index.json` of a layout with one more image, as skopeo adds it: what had the tag before stays without."""
    new = top.descriptor | ({"annotations": {REF_NAME: tag}} if tag else {})
    kept: list[object] = []
    for entry in index.get("manifests") or []:
        annotations = _annotations_of(entry)
        if tag and annotations.get(REF_NAME) == tag:
            annotations = {
                key: value for key, value in annotations.items() if key not in (REF_NAME, CONTAINERD_NAME)
            }
            entry = {key: value for key, value in entry.items() if key != "annotations"}
            entry |= {"annotations": annotations} if annotations else {}
        is_same = isinstance(entry, dict) and entry.get("digest") == top.digest
        if not is_same or annotations.get(REF_NAME, tag) != tag:
            kept.append(entry)
    return index | {"manifests": [*kept, new]}


def _annotations_of(entry: object) -> dict[str, object]:
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    return annotations if isinstance(annotations, dict) else {}


def new_index(descriptors: list[dict[str, object]]) -> dict[str, Any]:
    """The `index.json` of a layout with what some descriptors name."""
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}


def _platform(saved: SavedImage) -> dict[str, str]:
    platform = saved.image.platform
    found = {"architecture": platform.architecture, "os": platform.os}
    return found | ({"variant": platform.variant} if platform.variant else {})


def _annotations(name: str) -> dict[str, str]:
    full = loadable_name(name)
    return {REF_NAME: name} | ({CONTAINERD_NAME: qualified_name(full)} if full else {})
