"""Images of a `docker save` archive, layers read in place inside it.

Format: moby, image/spec (v1.2 "Combined Image JSON + Filesystem Changeset Format"): `manifest.json` lists each
image's config, layers and tags. The old form keeps layers as `<id>/layer.tar`, where one shared by several
images is a symbolic link; the new form (Docker 25) is an OCI layout as well, whose `index.json` has all platforms and
all names where `manifest.json` has one of each. `Parent` is moby's own addition.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import msgspec

from imgfs.blob import Blob
from imgfs.budget import Budget
from imgfs.digest import Digest, ImageID
from imgfs.errors import ImgfsError, InvalidDigest, InvalidImage, TooMuch, describe
from imgfs.sources.archive import ArchiveFiles
from imgfs.sources.checks import named_blobs
from imgfs.sources.content_store import ContentStore, Top
from imgfs.sources.documents import MAX_LAYERS, MAX_LIST, parse_items, read_document, reading_budget
from imgfs.sources.finder import BlobRef, Check, Finder, Found, FoundImage, Report, ignore
from imgfs.sources.kind import ArchiveKind
from imgfs.sources.manifests import Descriptor, ManifestWalk, read_index
from imgfs.sources.reference import familiar_name, narrowed, with_tag
from imgfs.store import Image

_MANIFEST, _INDEX = "manifest.json", "index.json"
_NAME = "io.containerd.image.name"
_HEX = re.compile(r"[0-9a-f]{64}")


class _Item(msgspec.Struct, rename="pascal"):
    config: str
    layers: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    repo_tags: list[str] | None = None
    parent: str = ""


class SaveFinder(Finder, ContentStore):
    """Every image that the archive names, or where there is one that `wanted` means, only that.

    A name means what `manifest.json` says, or the image for this machine where `index.json` has several for it.
    """

    def __init__(self, files: ArchiveFiles, wanted: str | None) -> None:
        self.reference = with_tag(f"docker-archive:{files.path}", wanted)
        self.writers = frozenset({files.writer})
        self._files = files
        self._wanted = wanted
        self._walk = ManifestWalk(self.open_content, files.path)

    def find(self, report: Report) -> Iterator[Found]:
        """As of `Finder`. Raises InvalidImage if there is no such manifest."""
        path = self._files.path
        if not self._files.exists(_MANIFEST):
            raise InvalidImage(f"{path}: no manifest.json, so not an archive made by docker save")
        name = f"{path}: {_MANIFEST}"
        items = parse_items(
            read_document(self._files.open(_MANIFEST), name, limit=MAX_LIST), _Item, name, report
        )
        entries = enumerate(self._entries(report), len(items))
        everything: list[tuple[int, _Item | Descriptor]] = [*items, *entries]
        chosen = narrowed(everything, self._wanted, _names)
        listed = [(number, item) for number, item in chosen if isinstance(item, _Item)]
        configs = {_digest_in(item.config) for _, item in listed}
        seen: dict[str, FoundImage] = {}
        for found in self._indexed(
            [item for _, item in chosen if isinstance(item, Descriptor)], listed, report
        ):
            if isinstance(found, FoundImage):
                # docker save of 25.0.0 wrote manifests without layers, which manifest.json has
                if len(found.layers) != len(found.image.diff_ids) and found.image.id in configs:
                    continue
                seen.setdefault(found.image.id, found)
            yield found
        budget = reading_budget(path)
        for number, item in listed:
            try:
                yield replace(self._image(item, seen, budget, report), aliases=[f"@{number}"])
            except TooMuch:
                raise
            except (ImgfsError, OSError) as error:
                named, tags = _HEX.search(item.config), _tags(item)
                called = f"{item.config} ({', '.join(tags)})" if tags else item.config
                image = f"sha256:{named[0]}" if named else ""
                report(f"skipping an image, {called}: {describe(error)}", image=image, names=tags)

    def watched(self) -> tuple[str, ...]:
        return (self._files.path,)

    def checks(self) -> Iterator[Check]:
        """Each blob that the index leads to, if there is one."""
        return named_blobs(self.open_content, self._entries(ignore))

    def tops(self) -> Iterator[Top]:
        """What `index.json` lists; nothing in an archive of the old form."""
        for entry in self._entries(ignore):
            yield Top(entry, _names(entry))

    def open_content(self, descriptor: Descriptor) -> Blob:
        digest = Digest(descriptor.digest)
        return self._files.open(f"blobs/{digest.algorithm}/{digest.hex}")

    def close(self) -> None:
        self._files.close()

    def _indexed(
        self, entries: Sequence[Descriptor], listed: Sequence[tuple[int, _Item]], report: Report
    ) -> Iterator[Found]:
        """What `index.json` leads to, under the names that `manifest.json` does not give to something else."""
        self._walk.begin(report, set)
        owners = {
            familiar_name(tag): (_digest_in(item.config), tag) for _, item in listed for tag in _tags(item)
        }
        by_digest: dict[str, tuple[Descriptor, dict[str, None]]] = {}
        for entry in entries:
            name = entry.annotation(_NAME)
            by_digest.setdefault(entry.digest, (entry, {}))[1].update(
                {familiar_name(name): None} if name else {}
            )
        for entry, names in by_digest.values():
            found = list(self._walk.images(entry, tuple(names)))
            inside = {thing.image.id for thing in found if isinstance(thing, FoundImage)}
            for thing in found:
                if isinstance(thing, FoundImage):
                    meant = [owners.get(name, (thing.image.id, name)) for name in thing.tags]
                    thing = replace(thing, tags=[tag for image_id, tag in meant if image_id in inside])
                yield thing

    def _entries(self, report: Report) -> Sequence[Descriptor]:
        """What `index.json` lists; none if there is no such file, or none that can be read, which is reported."""
        try:
            if not self._files.exists(_INDEX):
                return []
            return [
                entry
                for _, entry in read_index(self._files.open(_INDEX), f"{self._files.path}: {_INDEX}", report)
            ]
        except (ImgfsError, OSError) as error:
            report(f"what only index.json names is not shown: {describe(error)}")
            return []

    def _image(
        self, item: _Item, seen: Mapping[str, FoundImage], budget: Budget, report: Report
    ) -> FoundImage:
        """An image that `manifest.json` lists; what `index.json` leads to was `seen` already."""
        known = seen.get(_digest_in(item.config) or "")
        if known is not None:
            return replace(known, tags=_tags(item), parent=_parent(item, report))
        layers = item.layers or []
        if len(layers) > MAX_LAYERS:
            raise InvalidImage(f"{len(layers)} layers are too many")
        # only below `blobs/` is the digest of a config proved by its name, as engines have it
        name, digest = f"{self._files.path}: {item.config}", _digest_in(item.config)
        config = read_document(self._files.open(item.config), name, digest, budget)
        refs = [BlobRef(partial(self._files.open, name), _digest_in(name), name) for name in layers]
        return FoundImage(Image.from_config(config), refs, _tags(item), _parent(item, report))


def _tags(item: _Item) -> list[str]:
    return [name for name in item.repo_tags or () if name]


def _names(item: _Item | Descriptor) -> list[str]:
    if isinstance(item, Descriptor):
        name = item.annotation(_NAME)
        return [name, familiar_name(name), f"@{item.digest}"]
    digest = _HEX.search(item.config)
    return [*_tags(item), *([f"@sha256:{digest[0]}"] if digest else [])]


def _parent(item: _Item, report: Report) -> ImageID | None:
    try:
        return ImageID(item.parent) if item.parent else None
    except InvalidDigest as error:
        report(f"image {item.config}: its parent is not readable: {error}")
        return None


def _digest_in(name: str) -> Digest | None:
    """The digest in the name of a blob of the new form; names of the old form say nothing of what is stored."""
    parts = posixpath.normpath(name).split("/")
    try:
        return Digest(":".join(parts[1:])) if parts[0] == "blobs" and len(parts) == 3 else None
    except InvalidDigest:
        return None


KIND = ArchiveKind(SaveFinder, _MANIFEST)
