"""Checking what descriptors lead to: each document and each blob that a layout or a content store names.

Nothing vouches for some values, such as the spelling of a name or which image it leads to: if such a value changes to
another that is valid, no check notices.
Tried by the tests that flip bits in each kind of store.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from imgfs.blob import Blob, blob_chunks
from imgfs.digest import Digest
from imgfs.errors import Corrupt, ImgfsError, InvalidImage
from imgfs.sources.documents import MAX_DOCUMENT, parse_document, read_document
from imgfs.sources.finder import Check, ignore
from imgfs.sources.manifests import Descriptor, Document, entries_of

OpenBlob = Callable[[Descriptor], Blob]


def named_blobs(open_blob: OpenBlob, tops: Iterable[Descriptor]) -> Iterator[Check]:
    """Each blob that some descriptors lead to, once, whether or not it belongs to an image.

    Manifests that an index names and that are not there are none: not every platform need be.
    """
    waiting = [(top, "manifest", True) for top in tops]
    waiting.reverse()
    seen: set[str] = set()
    while waiting:
        descriptor, kind, has_to_be = waiting.pop()
        if descriptor.digest in seen:
            continue
        seen.add(descriptor.digest)
        try:
            document = _document(open_blob, descriptor) if kind == "manifest" else None
        except FileNotFoundError:
            if not has_to_be:
                continue
            document = None
        run = partial(_check_blob, open_blob, descriptor)
        yield Check(f"{kind} {descriptor.digest}", run, descriptor.digest)
        if document is not None:
            below = [(inner, "manifest", False) for inner in _entries(document, descriptor)]
            below += [(document.config, "config", True)] if document.config else []
            below += [(layer, "blob", True) for layer in document.layers or ()]
            waiting += reversed(below)


def _document(open_blob: OpenBlob, descriptor: Descriptor) -> Document | None:
    """What a manifest or an index names; None if it cannot be read. Raises FileNotFoundError."""
    try:
        data = read_document(open_blob(descriptor), descriptor.digest, limit=MAX_DOCUMENT)
        return parse_document(data, Document, descriptor.digest)
    except FileNotFoundError:
        raise
    except (ImgfsError, OSError):  # checking it says why
        return None


def _entries(document: Document, index: Descriptor) -> list[Descriptor]:
    """What an index lists, as far as it can be read; looking for images says what cannot."""
    try:
        return entries_of(document, index.digest, ignore)
    except InvalidImage:
        return []


def _check_blob(open_blob: OpenBlob, descriptor: Descriptor) -> None:
    digest = Digest(descriptor.digest)
    sha = hashlib.new(digest.algorithm)
    with open_blob(descriptor) as blob:
        if descriptor.size not in (None, blob.size):
            raise Corrupt(f"blob {digest}: {blob.size} bytes where {descriptor.size} are recorded")
        for chunk in blob_chunks(blob):
            sha.update(chunk)
    if sha.hexdigest() != digest.hex:
        raise Corrupt(f"blob {digest}: failed to verify, its bytes are {digest.algorithm}:{sha.hexdigest()}")
