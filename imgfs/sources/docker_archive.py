"""Images of a `docker save` archive, layers read in place inside it.

Format: moby, image/spec (v1.2 "Combined Image JSON + Filesystem Changeset Format"): `manifest.json` lists each
image's config, layers and tags. The old form keeps layers as `<id>/layer.tar`, where one shared by several
images is a symbolic link; the new form (Docker 25) is an OCI layout as well. `Parent` is moby's own addition.
"""

import re
from collections.abc import Iterator
from functools import partial

import msgspec

from imgfs.blob import FileBlob
from imgfs.budget import Budget
from imgfs.digest import Digest, ImageID
from imgfs.errors import Corrupt, ImgfsError, InvalidImage, TooMuch, describe
from imgfs.layers import Indexer
from imgfs.sources.catalog import CatalogSource, FoundImage, FoundLayer, Report
from imgfs.sources.documents import MAX_LAYERS, MAX_LIST, parse_document, read_document, reading_budget
from imgfs.sources.files import ArchiveFiles
from imgfs.sources.source import Source


class _Item(msgspec.Struct, rename="pascal"):
    config: str
    layers: list[str]
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
        return CatalogSource(reference, indexer, find, lambda: None, files.close)
    except BaseException:
        files.close()
        raise


def find_images(files: ArchiveFiles, path: str, tag: str | None, report: Report) -> Iterator[FoundImage]:
    """Every image that the archive's manifest names; raises InvalidImage if there is no such manifest, or no end."""
    if "manifest.json" not in files:
        raise InvalidImage(f"{path}: no manifest.json, so not an archive made by docker save")
    name = f"{path}: manifest.json"
    items = parse_document(
        read_document(files.open("manifest.json"), name, limit=MAX_LIST), list[_Item], name
    )
    if tag is not None:
        items = [item for item in items if tag in (item.repo_tags or ())]
        if not items:
            raise InvalidImage(f"{path}: no image is tagged {tag!r}")
    budget = reading_budget(path)
    for item in items:
        try:
            if len(item.layers) > MAX_LAYERS:
                raise InvalidImage(f"{len(item.layers)} layers are too many")
            yield FoundImage(
                config=_read_config(files, path, item.config, budget),
                layers=[
                    FoundLayer(partial(files.open, name), _digest_in(name), name) for name in item.layers
                ],
                tags=item.repo_tags or (),
                parent=ImageID(item.parent) if item.parent else None,
            )
        except TooMuch:
            raise
        except (ImgfsError, OSError) as error:
            named = _HEX.search(item.config)
            image = f"sha256:{named[0]}" if named else ""
            report(
                f"skipping image {item.config}: {describe(error)}", image=image, names=item.repo_tags or ()
            )


def _read_config(files: ArchiveFiles, path: str, name: str, budget: Budget) -> bytes:
    config = read_document(files.open(name), f"{path}: {name}", budget=budget)
    named = _HEX.search(name)
    if named and ImageID.of(config).hex != named[0]:
        raise Corrupt(f"{path}: {name}: failed to verify, its content has the digest {ImageID.of(config)}")
    return config


def _digest_in(name: str) -> Digest | None:
    """The digest in the name of a blob of the new form; names of the old form say nothing of stored bytes."""
    return Digest.from_hex(name[-64:]) if _BLOB.fullmatch(name) else None


_HEX = re.compile(r"[0-9a-f]{64}")
_BLOB = re.compile(r"blobs/sha256/[0-9a-f]{64}")
