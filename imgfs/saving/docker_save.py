"""Archives as `docker save` writes them since Docker 25: an OCI image layout, with manifest.json and `repositories`.

Format: moby, image/spec, v1.2.md, and containerd, core/images/archive/exporter.go, which writes them where Docker keeps
images in containerd: in the order of names, all of 1970. `repositories` comes from Docker's classic store, as the list
of parents in manifest.json does. What that store adds for Docker 1.9, a config of each layer, is left out.
Tried by the tests of `imgfs save`, and with engines.
"""

from collections.abc import Sequence
from operator import attrgetter

from imgfs.blob import MemoryBlob
from imgfs.saving.entry import Entry, data_entry, encode_json, json_entry, loadable_name
from imgfs.saving.oci_layout import (
    CONTAINERD_NAME,
    LAYOUT,
    REF_NAME,
    blob_path,
    new_index,
    piece_entry,
)
from imgfs.saving.saved_image import SavedImage
from imgfs.sources.reference import qualified_name, split_name
from imgfs.tar.member import DIRECTORY

_STORED = 0o444  # the mode of what never changes


def docker_archive_entries(images: Sequence[SavedImage]) -> list[Entry]:
    """The files of an archive of some images, in their order; blobs that several have are in it once."""
    files: dict[str, Entry] = {}
    descriptors: list[dict[str, object]] = []
    items: list[dict[str, object]] = []
    repositories: dict[str, dict[str, str]] = {}
    image_ids = {saved.image.id for saved in images}
    for saved in images:
        pieces = saved.pieces
        for piece in pieces.all:
            files.setdefault(piece.digest, piece_entry(piece, _STORED))
        names = list(filter(None, map(loadable_name, saved.names)))
        manifest = pieces.manifest.descriptor
        descriptors += [manifest | {"annotations": _annotations(name)} for name in names] or [manifest]
        for name in names if pieces.layers else ():
            repository, tag = split_name(name)
            repositories.setdefault(repository, {})[tag] = pieces.layers[-1].hex
        item: dict[str, object] = {"Config": blob_path(pieces.config.digest), "RepoTags": names or None}
        item["Layers"] = list(map(blob_path, pieces.layers)) or None
        parent = saved.image.parent
        items.append(item | ({"Parent": parent} if parent in image_ids else {}))
    folders = {f"blobs/{piece.digest.algorithm}" for saved in images for piece in saved.pieces.all}
    entries = [
        *(Entry(name, 0, lambda: MemoryBlob(b""), 0o755, DIRECTORY) for name in ("blobs", *folders)),
        *files.values(),
        json_entry("index.json", new_index(descriptors)),
        json_entry("manifest.json", items),
        data_entry("oci-layout", encode_json(LAYOUT), _STORED),
    ]
    if repositories:
        entries.append(data_entry("repositories", encode_json(repositories) + b"\n"))
    return sorted(entries, key=attrgetter("name"))


def _annotations(name: str) -> dict[str, str]:
    return {CONTAINERD_NAME: qualified_name(name), REF_NAME: split_name(name)[1]}
