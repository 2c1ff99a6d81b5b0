"""Tables of contents of eStargz layers that lie in an image of their own, whose tag ends with `-esgztoc`.

Format: stargz-snapshotter, docs/estargz.md, "eStargz image with an external TOC". What pins a table is in the image
that has the layer, so it does not matter who made the other one.
Tried by the tests of registries whose layers have tables of contents.
"""

from collections.abc import Iterable

from imgfs.digest import Digest
from imgfs.errors import InvalidDigest, InvalidImage, NotFound
from imgfs.layers.toc_pin import Form
from imgfs.registry.client import RemoteRepository
from imgfs.sources.documents import parse_document
from imgfs.sources.finder import FoundImage, TocRef
from imgfs.sources.manifests import Document

_SUFFIX = "-esgztoc"
_LAYER = "containerd.io/snapshot/stargz/layer.digest"
_LARGEST = 64 << 20


class ExternalTocs:
    """The tables of the layers of some images of `repository`. Safe to use from several threads."""

    def __init__(self, repository: RemoteRepository) -> None:
        self._repository = repository
        self._tags: dict[Digest, dict[str, None]] = {}  # of images with the layer whose blob has a digest

    def add(self, found: FoundImage, tags: Iterable[str]) -> None:
        """Note an image, that some tags lead to, be it through an index."""
        for ref in found.layers:
            if isinstance(ref, TocRef) and ref.pin.form is Form.ESTARGZ and ref.blob.digest is not None:
                self._tags.setdefault(ref.blob.digest, {}).update(dict.fromkeys(tags))

    def find(self, layer: Digest) -> bytes | None:
        """The compressed table of the layer whose blob has a digest; None if no image has it. Raises ImgfsError."""
        for tag in list(self._tags.get(layer, ())):
            try:
                manifest = self._repository.manifest(f"{tag}{_SUFFIX}").data
                listed = parse_document(manifest, Document, f"{tag}{_SUFFIX}").layers or []
                for descriptor in listed:
                    if descriptor.annotation(_LAYER) == layer and 0 < (descriptor.size or 0) <= _LARGEST:
                        return self._repository.read(Digest(descriptor.digest), descriptor.size or 0)
            except (NotFound, InvalidImage, InvalidDigest):
                continue
        return None
