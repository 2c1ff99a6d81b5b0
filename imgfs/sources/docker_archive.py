"""Images of a `docker save` archive, layers read in place inside it.

Format: moby, image/spec (v1.2 "Combined Image JSON + Filesystem Changeset Format"): `manifest.json` lists each
image's config, layers and tags. The old form keeps layers as `<id>/layer.tar`, where one shared by several
images is a symbolic link; the new form (Docker 25) is an OCI layout as well. `Parent` is moby's own addition.
"""

import posixpath
import re
from collections.abc import Iterator
from functools import partial

import msgspec

from imgfs.blob import FileBlob
from imgfs.budget import Budget
from imgfs.digest import Digest, ImageID
from imgfs.errors import ImgfsError, InvalidDigest, InvalidImage, TooMuch, describe
from imgfs.layers import Indexer
from imgfs.sources.catalog import CatalogSource, FoundImage, FoundLayer, Report
from imgfs.sources.choosing import chosen
from imgfs.sources.documents import MAX_LAYERS, MAX_LIST, parse_items, read_document, reading_budget
from imgfs.sources.files import ArchiveFiles
from imgfs.sources.source import Source


class _Item(msgspec.Struct, rename="pascal"):
    config: str
    layers: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    repo_tags: list[str] | None = None
    parent: str = ""


def open_archive(path: str, tag: str | None, indexer: Indexer) -> Source:
    """The source `docker-archive:FILE[:TAG]`; with a tag, only the image so named.

    Raises InvalidImage if the file is no such archive, OSError if it cannot be read.
    """
    files = ArchiveFiles(FileBlob(path), path)
    reference = f"docker-archive:{path}" + (f":{tag}" if tag else "")
    try:
        find = partial(find_images, files, path, tag)
        return CatalogSource(reference, indexer, find, lambda: None, files.close, writers=[files.writer])
    except BaseException:
        files.close()
        raise


def find_images(files: ArchiveFiles, path: str, tag: str | None, report: Report) -> Iterator[FoundImage]:
    """Every image that the archive's manifest names; raises InvalidImage if there is no such manifest, or no end."""
    if "manifest.json" not in files:
        raise InvalidImage(f"{path}: no manifest.json, so not an archive made by docker save")
    name = f"{path}: manifest.json"
    data = read_document(files.open("manifest.json"), name, limit=MAX_LIST)
    items = parse_items(data, _Item, name, report)
    if tag is not None:
        items = chosen(items, tag, _names, path)
    budget = reading_budget(path)
    for _, item in items:
        tags = [name for name in item.repo_tags or () if name]
        try:
            layers = item.layers or []
            if len(layers) > MAX_LAYERS:
                raise InvalidImage(f"{len(layers)} layers are too many")
            yield FoundImage(
                config=_read_config(files, path, item.config, budget),
                layers=[FoundLayer(partial(files.open, name), _digest_in(name), name) for name in layers],
                tags=tags,
                parent=_parent(item, report),
            )
        except TooMuch:
            raise
        except (ImgfsError, OSError) as error:
            named = _HEX.search(item.config)
            image = f"sha256:{named[0]}" if named else ""
            report(f"skipping image {item.config}: {describe(error)}", image=image, names=tags)


def _names(item: _Item) -> list[str]:
    digest = _HEX.search(item.config)
    return [*(item.repo_tags or ()), *([f"@sha256:{digest[0]}"] if digest else [])]


def _parent(item: _Item, report: Report) -> ImageID | None:
    try:
        return ImageID(item.parent) if item.parent else None
    except InvalidDigest as error:
        report(f"image {item.config}: its parent is not readable: {error}")
        return None


def _read_config(files: ArchiveFiles, path: str, name: str, budget: Budget) -> bytes:
    """The config; only below `blobs/` is its digest vouched for by its name, as engines have it."""
    return read_document(files.open(name), f"{path}: {name}", _digest_in(name), budget)


def _digest_in(name: str) -> Digest | None:
    """The digest in the name of a blob of the new form; names of the old form say nothing of what is stored."""
    parts = posixpath.normpath(name).split("/")
    try:
        return Digest(":".join(parts[1:])) if parts[0] == "blobs" and len(parts) == 3 else None
    except InvalidDigest:
        return None


_HEX = re.compile(r"[0-9a-f]{64}")
