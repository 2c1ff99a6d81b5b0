"""From descriptors down to images, which layouts and content stores have in common.

Format: OCI image specification, descriptor.md, image-index.md, manifest.md. Indexes may nest; the walk visits
each descriptor once, so one that leads back to itself ends. Every platform's image is found, and what is no image:
signatures, attestations, charts and other artifacts.
"""

import logging
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from weakref import WeakValueDictionary

import msgspec

from imgfs.blob import Blob
from imgfs.codec import Compression, begins_tar, detect
from imgfs.digest import ChainID, Digest
from imgfs.errors import Corrupt, ImgfsError, InvalidImage, StoreError, TooMuch, describe
from imgfs.layers import TocPin, TocUse, pin_of
from imgfs.sources.documents import (
    MAX_LAYERS,
    MAX_LIST,
    parse_document,
    parse_items,
    read_document,
    reading_budget,
)
from imgfs.sources.finder import Artifact, BlobRef, FoundImage, Report, TocRef, ignore
from imgfs.store import DocumentPacker, Image, Platform, this_architecture

Listed = FoundImage | Artifact
"""What manifests lead to."""

logger = logging.getLogger("imgfs")

_MAX_MANIFESTS = 10_000  # that one descriptor leads to

# Types of configs of images. The odd ones, and none, come from registries that lost them; Docker takes them, too.
_UNTYPED = ("application/octet-stream", "application/json", "text/html", "")
IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    *_UNTYPED,
)
_LAYERS = (
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
    "application/vnd.docker.container.image.rootfs.",
)


class _Platform(msgspec.Struct):
    os: str = ""
    architecture: str = ""
    variant: str = ""


class Descriptor(msgspec.Struct, rename="camel"):
    """What names a blob; `digest` is not validated yet."""

    digest: str
    size: int | None = None
    media_type: str = ""
    annotations: dict[str, object] | None = None
    platform: _Platform | None = None
    urls: list[str] | None = None

    @property
    def kind(self) -> str:
        """The media type without its parameters, in lower case."""
        return self.media_type.partition(";")[0].strip().lower()

    @property
    def for_platform(self) -> Platform:
        """What it is for, as far as it says."""
        given = self.platform or _Platform()
        return Platform(given.os, given.architecture, given.variant)

    def annotation(self, key: str) -> str:
        """An annotation, empty where there is none."""
        value = (self.annotations or {}).get(key)
        return value if isinstance(value, str) else ""


class Document(msgspec.Struct, rename="camel"):
    """An index (`manifests`, a list of descriptors) or an image manifest; told apart by what it holds."""

    manifests: msgspec.Raw = msgspec.Raw()
    config: Descriptor | None = None
    layers: list[Descriptor] | msgspec.UnsetType | None = msgspec.UNSET
    media_type: str = ""
    artifact_type: str = ""

    @property
    def is_index(self) -> bool:
        """Whether it has a list of manifests, which may be null. Raises InvalidImage if it is a manifest besides."""
        manifests = bytes(self.manifests).strip()
        if self.config is not None and manifests not in (b"", b"null"):
            raise InvalidImage("both an index and an image manifest")
        return self.config is None and manifests != b""


def entries_of(document: Document, name: str, report: Report) -> list[Descriptor]:
    """What an index lists; an odd item is reported. Raises InvalidImage naming `name` if its list is none."""
    listed = parse_items(document.manifests, Descriptor, name, report) if bytes(document.manifests) else []
    return [entry for _, entry in listed]


def read_index(file: Blob, name: str, report: Report) -> list[tuple[int, Descriptor]]:
    """What the `index.json` of a layout lists, each with its number; an odd item is reported.

    Closes the file. Raises InvalidImage naming `name` if it is no index, OSError.
    """
    index = parse_document(read_document(file, name, limit=MAX_LIST), Document, name)
    if not index.is_index:
        raise InvalidImage(f"{name}: no manifests")
    return parse_items(index.manifests, Descriptor, name, report)


class ManifestWalk:
    """Follows descriptors down to the images of the place called `place`; `begin` comes first.

    `open_blob` opens a blob, or raises ImgfsError or OSError, FileNotFoundError if it is not there. Where only what was
    pulled is there, `has_layers` tells whether any layer of an image is. `size_of` is that of `BlobRef`. Of an index,
    only images for `platform` are found if that is given. In a registry, manifests are opened by `open_manifest`, and
    layers are not opened to find images. `toc` says which layers are read by their tables of contents.
    """

    def __init__(
        self,
        open_blob: Callable[[Descriptor], Blob],
        place: str,
        *,
        has_layers: Callable[[FoundImage], bool] | None = None,
        size_of: Callable[[ChainID], int | None] = lambda _: None,
        platform: Platform | None = None,
        open_manifest: Callable[[Descriptor], Blob] | None = None,
        toc: TocUse = TocUse.NEVER,
    ) -> None:
        self._toc = toc
        self._size_of = size_of
        self._platform = platform
        self._open_manifest = open_manifest or open_blob
        self._may_look_at_layers = open_manifest is None
        self._open_blob = open_blob
        self._place = place
        self._has_layers = has_layers
        self._report: Report = ignore
        self._packer = DocumentPacker()
        self._budget = reading_budget(place)
        self._stored: Container[str] = ()
        self._known: Mapping[str, Listed] = {}
        self._found: dict[str, Listed] = {}  # by the digest of the manifest
        # images share them
        self._layers = WeakValueDictionary[tuple[str, int | None, TocPin | None], BlobRef | TocRef]()

    def begin(self, report: Report, stored: Callable[[], Container[str]]) -> None:
        """Look again: what is broken is reported and left out.

        Manifests found by the look before are not read again if they and their configs are in what `stored`
        returns, the digests of the blobs that are there.
        """
        self._report = report
        self._budget = reading_budget(self._place)
        self._stored = stored() if self._found else ()
        self._known, self._found = self._found, {}

    def images(self, top: Descriptor, tags: Sequence[str], aliases: Sequence[str] = ()) -> Iterator[Listed]:
        """The images and artifacts below a descriptor; the first image carries the names, or else the top its tags.

        An entry of an index that is not there, or of which nothing but its documents is, as containerd 2 pulls these,
        is of a platform that was not pulled, as long as another one is there.
        Raises TooMuch if the place has too many documents; one descriptor that leads to too many is reported.
        """
        waiting, visited, called = [top], set[str](), next(iter(tags), top.digest)
        names, found, absent = tags, 0, list[str]()
        has_image, without_layers = False, list[tuple[Descriptor, FoundImage]]()

        def named(thing: FoundImage, descriptor: Descriptor) -> FoundImage:
            nonlocal tags, aliases
            digests = dict.fromkeys((f"@{descriptor.digest}", f"@{top.digest}"))
            thing, tags, aliases = thing.named(tags, (*aliases, *digests)), (), ()
            return thing

        while waiting:
            descriptor = waiting.pop()
            if descriptor.digest in visited:
                continue
            if max(len(visited), len(waiting)) >= _MAX_MANIFESTS:
                self._report(f"leaving out what else {called} leads to: more than {_MAX_MANIFESTS} manifests")
                return
            visited.add(descriptor.digest)
            try:
                inside, thing = self._look_at(descriptor, tags)
            except TooMuch:
                raise
            except FileNotFoundError as error:
                absent.append(descriptor.digest)
                logger.debug("%s: manifest %s: %s", self._place, descriptor.digest, describe(error))
                continue
            except (ImgfsError, OSError) as error:
                found += 1  # of a kind
                what = f"skipping manifest {descriptor.digest}: {describe(error)}"
                self._report(what, image=descriptor.digest, names=names)
                continue
            waiting += inside
            if isinstance(thing, FoundImage):
                if self._has_layers is not None and not self._has_layers(thing):
                    without_layers.append((descriptor, thing))
                    continue
                has_image, thing = True, named(thing, descriptor)
            if thing is not None:
                found += 1
                yield thing
        for descriptor, image in () if has_image else without_layers:
            found += 1
            yield named(image, descriptor)
        if not found and absent == [top.digest]:
            self._report(f"skipping manifest {top.digest}: it is not there", image=top.digest, names=names)
        elif not found and (names or absent):
            self._report(f"{called} leads to no image that is here", image=top.digest, names=names)

    def _look_at(self, descriptor: Descriptor, tags: Sequence[str]) -> tuple[list[Descriptor], Listed | None]:
        """What to look at next, last first, and what was found."""
        digest = Digest(descriptor.digest)
        if _is_attestation(descriptor):
            self._open_manifest(descriptor).close()  # those of platforms that were not pulled are not there
            return [], Artifact(digest, "attestation")
        known = self._known_at(digest)
        if known is not None:
            return [], known if isinstance(known, FoundImage) else replace(known, tags=tags)
        name = f"{self._place}: {descriptor.digest}"
        data = self._read(descriptor, self._open_manifest)
        document = parse_document(data, Document, name)
        if not document.is_index:
            self._found[digest] = self._image(descriptor, document, data, tags)
            return [], self._found[digest]
        listed = entries_of(document, name, self._report)
        # each but once
        entries = {entry.digest: entry for entry in reversed(listed) if _may_be_manifest(entry)}
        if listed and not entries:  # as build caches list their layers
            return [], Artifact(digest, document.artifact_type or listed[-1].kind, tags)
        inside = [entry for entry in reversed(entries.values()) if self._is_wanted(entry)]
        if entries and not inside:
            others = dict.fromkeys(str(entry.for_platform) for entry in listed if not _is_attestation(entry))
            raise StoreError(f"no image in it is for {self._platform}, but for {', '.join(others)}")
        return list(reversed(this_platform_first(inside))), None

    def _is_wanted(self, entry: Descriptor) -> bool:
        """Whether an entry of an index may lead to an image for the platform that is looked for."""
        return self._platform is None or self._platform.accepts(entry.for_platform)

    def _known_at(self, digest: Digest) -> Listed | None:
        """What is behind a manifest that was read before."""
        if digest in self._found:
            return self._found[digest]
        known = self._known.get(digest)
        if known is None or digest not in self._stored:
            return None
        if isinstance(known, FoundImage) and known.image.id not in self._stored:
            return None
        self._found[digest] = known
        return known

    def _image(self, descriptor: Descriptor, manifest: Document, data: bytes, tags: Sequence[str]) -> Listed:
        kind = manifest.artifact_type or manifest.media_type
        artifact = Artifact(Digest(descriptor.digest), kind, tags)
        if manifest.config is None:
            if manifest.artifact_type or "artifact" in manifest.media_type:
                return artifact
            raise InvalidImage("neither an index nor an image manifest")
        layers = manifest.layers or []
        if len(layers) > MAX_LAYERS:
            raise InvalidImage(f"{len(layers)} layers are too many")
        if manifest.config.kind not in IMAGE_CONFIGS:
            return replace(artifact, type=manifest.artifact_type or manifest.config.kind)
        if layers and not any(map(self._may_be_layer, layers)):
            return replace(artifact, type=manifest.artifact_type or layers[0].kind)
        try:
            config = self._read(manifest.config, self._open_blob)
        except FileNotFoundError as error:
            raise StoreError(f"its config is missing: {describe(error)}") from None
        if config.strip() == b"{}":  # what stands for no config
            return artifact
        try:
            image = Image.from_config(config, keep=self._packer.keep)
        except InvalidImage:
            if all(layer.kind.startswith(_LAYERS) for layer in layers):
                raise
            return replace(artifact, type=manifest.artifact_type or layers[0].kind)
        return FoundImage(image, tuple(map(self._layer, layers)), tags, manifest=self._packer.keep(data))

    def _layer(self, descriptor: Descriptor) -> BlobRef | TocRef:
        pin = pin_of(descriptor.annotations or {}) if self._toc is not TocUse.NEVER else None
        pin = pin if pin is not None and self._toc.allows(pin) else None
        known = self._layers.get((descriptor.digest, descriptor.size, pin))
        if known is not None:
            return known
        digest = Digest(descriptor.digest)
        key = digest, descriptor.size
        kept = Descriptor(digest, descriptor.size, descriptor.media_type)
        is_remote = not self._may_look_at_layers
        blob = BlobRef(partial(self._open_layer, kept), digest, key, self._size_of, is_doubtful=is_remote)
        return self._layers.setdefault((*key, pin), blob if pin is None else TocRef(blob, pin))

    def _may_be_layer(self, descriptor: Descriptor) -> bool:
        """Whether it is of an image, by its media type, or else by its first bytes."""
        if descriptor.kind.startswith(_LAYERS):
            return True
        if not self._may_look_at_layers:
            return descriptor.kind in _UNTYPED
        try:
            with self._open_blob(descriptor) as blob:
                return detect(blob) is not Compression.PLAIN or begins_tar(blob)
        except (ImgfsError, OSError):  # reading the layer says so
            return True

    def _open_layer(self, descriptor: Descriptor) -> Blob:
        digest, size = descriptor.digest, descriptor.size
        try:
            blob = self._open_blob(descriptor)
        except FileNotFoundError:
            why = " (it was not pulled, or discarded after unpacking)" if self._has_layers else ""
            raise StoreError(f"{self._place}: blob {digest} of a layer is not there{why}") from None
        if size not in (None, blob.size):
            blob.close()
            raise Corrupt(f"{self._place}: blob {digest} has {blob.size} bytes where {size} are recorded")
        return blob

    def _read(self, descriptor: Descriptor, open_: Callable[[Descriptor], Blob]) -> bytes:
        digest = Digest(descriptor.digest)
        return read_document(open_(descriptor), f"blob {digest}", digest, self._budget)


def documents_below(data: bytes, name: str, platform: Platform | None) -> list[Descriptor]:
    """What a manifest or an index names that has to be read to find images for a platform.

    Raises InvalidImage naming `name`.
    """
    document = parse_document(data, Document, name)
    if document.is_index:
        return [
            entry
            for entry in entries_of(document, name, ignore)
            if _may_be_manifest(entry)
            and not _is_attestation(entry)
            and (platform is None or platform.accepts(entry.for_platform))
        ]
    return [document.config] if document.config and document.config.kind in IMAGE_CONFIGS else []


def this_platform_first(descriptors: list[Descriptor]) -> list[Descriptor]:
    """The same descriptors, those for this machine before others: a tag on an index means that image here."""
    here = ("linux", this_architecture())

    def is_other(descriptor: Descriptor) -> bool:
        wanted = descriptor.platform
        return wanted is not None and (wanted.os, wanted.architecture) != here

    return sorted(descriptors, key=is_other)


def _is_attestation(descriptor: Descriptor) -> bool:
    platform = descriptor.platform
    return descriptor.annotation("vnd.docker.reference.type") == "attestation-manifest" or (
        platform is not None and platform.os == platform.architecture == "unknown"
    )


def _may_be_manifest(descriptor: Descriptor) -> bool:
    """Whether an entry of an index is a manifest or an index, going by its media type if that says anything."""
    kind = descriptor.kind
    return kind in IMAGE_CONFIGS or "manifest" in kind or "index" in kind
