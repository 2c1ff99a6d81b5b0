"""From descriptors down to images, which layouts and content stores have in common.

Format: OCI image specification, descriptor.md, image-index.md, manifest.md. Indexes may nest; the walk visits
each descriptor once, so one that leads back to itself ends. Every platform's image is found.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import msgspec

from imgfs.blob import Blob
from imgfs.budget import Budget
from imgfs.digest import Digest
from imgfs.errors import Corrupt, ImgfsError, InvalidImage, StoreError, TooMuch, describe
from imgfs.sources.catalog import FoundImage, FoundLayer, Report
from imgfs.sources.documents import MAX_LAYERS, parse_document, read_document, reading_budget
from imgfs.store import this_architecture

logger = logging.getLogger("imgfs")

_MAX_MANIFESTS = 10_000  # that one descriptor leads to
_IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "",
)


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""


class Descriptor(msgspec.Struct, rename="camel"):
    """What names a blob; `digest` is not validated yet."""

    digest: str
    size: int | None = None
    media_type: str = ""
    annotations: dict[str, str] | None = None
    platform: _Platform | None = None


class Document(msgspec.Struct):
    """An index (`manifests`) or an image manifest (`config` and `layers`); told apart by what it holds."""

    manifests: list[Descriptor] | None = None
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None


class ManifestWalk:
    """Follows descriptors down to the images of the place called `place`.

    `open_blob` opens a blob, or raises ImgfsError or OSError, FileNotFoundError if it is not there. What is broken
    is reported and left out; where `is_partial`, entries of an index that are not there are no problem, as only one
    platform may have been pulled.
    """

    def __init__(
        self,
        open_blob: Callable[[Digest], Blob],
        place: str,
        report: Report,
        *,
        is_partial: bool = False,
        budget: Budget | None = None,
    ) -> None:
        self._open_blob = open_blob
        self._place = place
        self._report = report
        self._is_partial = is_partial
        self._budget = budget or reading_budget(place)

    def images(self, top: Descriptor, tags: Sequence[str]) -> Iterator[FoundImage]:
        """The images below a descriptor; the first of them carries the tags.

        Raises TooMuch if the place has too many documents; one descriptor that leads to too many is reported.
        """
        waiting, visited, called = [top], set[str](), next(iter(tags), top.digest)
        names, leads_anywhere = tags, False
        while waiting:
            descriptor = waiting.pop()
            if descriptor.digest in visited or _is_attestation(descriptor):
                continue
            if max(len(visited), len(waiting)) >= _MAX_MANIFESTS:
                self._report(f"leaving out what else {called} leads to: more than {_MAX_MANIFESTS} manifests")
                return
            visited.add(descriptor.digest)
            try:
                data = self._read(descriptor)
                document = parse_document(data, Document, f"{self._place}: {descriptor.digest}")
                if document.manifests is not None:
                    inside = {entry.digest: entry for entry in reversed(document.manifests)}  # each but once
                    waiting += reversed(this_platform_first(list(reversed(inside.values()))))
                    continue
                image = self._image(descriptor, document, data, tags)
            except TooMuch:
                raise
            except FileNotFoundError as error:
                if self._is_partial and descriptor is not top:
                    logger.info(
                        "%s: leaving out manifest %s: %s", self._place, descriptor.digest, describe(error)
                    )
                else:
                    self._skip(descriptor, names, error)
                    leads_anywhere = True
                continue
            except (ImgfsError, OSError) as error:
                self._skip(descriptor, names, error)
                leads_anywhere = True
                continue
            leads_anywhere = True
            if image is not None:
                yield image
                tags = ()
        if names and not leads_anywhere:
            self._report(f"{called} leads to no image that is here", image=top.digest, names=names)

    def _skip(self, descriptor: Descriptor, names: Sequence[str], error: Exception) -> None:
        what = f"skipping manifest {descriptor.digest}: {describe(error)}"
        self._report(what, image=descriptor.digest, names=names)

    def _image(
        self, descriptor: Descriptor, manifest: Document, data: bytes, tags: Sequence[str]
    ) -> FoundImage | None:
        if manifest.config is None or manifest.layers is None:
            raise InvalidImage("neither an index nor an image manifest")
        if manifest.config.media_type not in _IMAGE_CONFIGS:
            logger.debug("%s: %s is an artifact, not an image", self._place, descriptor.digest)
            return None
        if len(manifest.layers) > MAX_LAYERS:
            raise InvalidImage(f"{len(manifest.layers)} layers are too many")
        layers = []
        for layer in manifest.layers:
            digest = Digest(layer.digest)
            key = digest, layer.size
            layers.append(FoundLayer(partial(self._open_layer, digest, layer.size), digest, key))
        try:
            config = self._read(manifest.config)
        except FileNotFoundError as error:
            raise StoreError(f"its config is missing: {describe(error)}") from None
        return FoundImage(config, layers, tags, manifest=data)

    def _open_layer(self, digest: Digest, size: int | None) -> Blob:
        try:
            blob = self._open_blob(digest)
        except FileNotFoundError:
            why = " (it was not pulled, or discarded after unpacking)" if self._is_partial else ""
            raise StoreError(f"{self._place}: blob {digest} of a layer is not there{why}") from None
        if size not in (None, blob.size):
            blob.close()
            raise Corrupt(f"{self._place}: blob {digest} has {blob.size} bytes where {size} are recorded")
        return blob

    def _read(self, descriptor: Descriptor) -> bytes:
        digest = Digest(descriptor.digest)
        return read_document(self._open_blob(digest), f"blob {digest}", digest, self._budget)


def this_platform_first(descriptors: list[Descriptor]) -> list[Descriptor]:
    """The same descriptors, those for this machine before others: a tag on an index means that image here."""
    here = ("linux", this_architecture())

    def is_other(descriptor: Descriptor) -> bool:
        wanted = descriptor.platform
        return wanted is not None and (wanted.os, wanted.architecture) != here

    return sorted(descriptors, key=is_other)


def _is_attestation(descriptor: Descriptor) -> bool:
    annotations = descriptor.annotations or {}
    return annotations.get("vnd.docker.reference.type") == "attestation-manifest"
