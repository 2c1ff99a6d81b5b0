"""JSON documents that come from outside: read whole within a limit, checked against a digest, parsed to a type."""

import hashlib
from typing import TypeVar

import msgspec

from imgfs.blob import Blob
from imgfs.digest import Digest
from imgfs.errors import Corrupt, InvalidImage

# The same limit containers/image puts on manifests and configs; what is larger is not an image document.
MAX_DOCUMENT = 4 << 20

T = TypeVar("T")


def read_document(blob: Blob, name: str, digest: Digest | None = None) -> bytes:
    """All bytes of a small blob, which is closed.

    Raises InvalidImage if it is larger than MAX_DOCUMENT, Corrupt if its digest is not `digest`.
    """
    with blob:
        if blob.size > MAX_DOCUMENT:
            raise InvalidImage(f"{name}: {blob.size} bytes are too many for a JSON document")
        data = blob.pread(blob.size, 0)
    if digest is not None and hashlib.new(digest.algorithm, data).hexdigest() != digest.hex:
        raise Corrupt(f"{name}: failed to verify, its content is not {digest}")
    return data


def parse_document(data: bytes, kind: type[T], name: str) -> T:
    """The document as a `kind`, a msgspec type. Raises InvalidImage naming `name`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidImage(f"{name}: {error}") from None
