"""Finding image manifests among blobs of which nothing is known but their digests.

A manifest is small, begins as a JSON object does, and says which config and layers it has. Blobs are only ever
read as far as needed to tell.
"""

import logging
from collections.abc import Iterator
from itertools import islice

from imgfs.blob import Root
from imgfs.errors import ImgfsError, InvalidImage
from imgfs.sources.documents import MAX_DOCUMENT, parse_document
from imgfs.sources.manifests import Document

logger = logging.getLogger("imgfs")

_MAX_BLOBS = 1_000_000


def scan_manifests(folder: Root) -> Iterator[str]:
    """The digests of blobs in a folder, named by their sha256, that look like image manifests; sorted.

    Raises InvalidImage if there are too many to look at, OSError if the folder cannot be read.
    """
    try:
        with folder.scan() as entries:
            names = [entry.name for entry in islice(entries, _MAX_BLOBS + 1)]
    except FileNotFoundError:  # before the first blob there is no folder
        return
    if len(names) > _MAX_BLOBS:
        raise InvalidImage(f"{folder.path}: more than {_MAX_BLOBS} blobs")
    for name in sorted(names):
        try:
            if _is_manifest(folder, name):
                yield f"sha256:{name}"
        except (ImgfsError, OSError) as error:
            logger.debug("%s", error)


def _is_manifest(folder: Root, name: str) -> bool:
    with folder.open(name) as blob:
        if blob.size > MAX_DOCUMENT or not blob.pread(64, 0).lstrip().startswith(b"{"):
            return False
        data = blob.pread(blob.size, 0)
    document = parse_document(data, Document, blob.path)
    return not document.is_index and document.config is not None
