"""Images of a `docker save` archive, layers read in place inside it.

Format: moby, image/spec (v1.2 "Combined Image JSON + Filesystem Changeset Format"): `manifest.json` lists each
image's config, layers and tags. The old form keeps layers as `<id>/layer.tar`, where one shared by several
images is a symbolic link; the new form (Docker 25) is an OCI layout as well. `Parent` is moby's own addition.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import msgspec

from imgfs.budget import Budget
from imgfs.digest import Digest, ImageID
from imgfs.errors import ImgfsError, InvalidDigest, InvalidImage, TooMuch, describe
from imgfs.sources.archive import ArchiveFiles
from imgfs.sources.documents import MAX_LAYERS, MAX_LIST, parse_items, read_document, reading_budget
from imgfs.sources.finder import BlobRef, Finder, FoundImage, Report
from imgfs.sources.kind import ArchiveKind
from imgfs.sources.reference import narrowed, with_tag
from imgfs.store import Image

_MANIFEST = "manifest.json"
_HEX = re.compile(r"[0-9a-f]{64}")


class _Item(msgspec.Struct, rename="pascal"):
    config: str
    layers: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    repo_tags: list[str] | None = None
    parent: str = ""


class SaveFinder(Finder):
    """Every image that the archive's manifest names, or where there is one that `wanted` means, only that."""

    def __init__(self, files: ArchiveFiles, wanted: str | None) -> None:
        self.reference = with_tag(f"docker-archive:{files.path}", wanted)
        self.writers = frozenset({files.writer})
        self._files = files
        self._wanted = wanted

    def find(self, report: Report) -> Iterator[FoundImage]:
        """As of `Finder`. Raises InvalidImage if there is no such manifest."""
        path = self._files.path
        if not self._files.exists(_MANIFEST):
            raise InvalidImage(f"{path}: no manifest.json, so not an archive made by docker save")
        name = f"{path}: {_MANIFEST}"
        items = parse_items(
            read_document(self._files.open(_MANIFEST), name, limit=MAX_LIST), _Item, name, report
        )
        budget = reading_budget(path)
        for number, item in narrowed(items, self._wanted, _names):
            try:
                yield replace(self._image(item, budget, report), aliases=[f"@{number}"])
            except TooMuch:
                raise
            except (ImgfsError, OSError) as error:
                named, tags = _HEX.search(item.config), _tags(item)
                called = f"{item.config} ({', '.join(tags)})" if tags else item.config
                image = f"sha256:{named[0]}" if named else ""
                report(f"skipping an image, {called}: {describe(error)}", image=image, names=tags)

    def close(self) -> None:
        self._files.close()

    def _image(self, item: _Item, budget: Budget, report: Report) -> FoundImage:
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


def _names(item: _Item) -> list[str]:
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


KIND = ArchiveKind("docker-archive", SaveFinder, _MANIFEST)
