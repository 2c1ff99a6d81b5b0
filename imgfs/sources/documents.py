"""JSON documents that come from outside: read whole within a limit, checked against a digest, parsed to a type."""

import hashlib
from typing import TypeVar

import msgspec

from imgfs.blob import Blob
from imgfs.decoders import json_decoder
from imgfs.digest import Digest
from imgfs.errors import Corrupt, InvalidImage, TooMuch

# The same limit containers/image puts on manifests and configs; what is larger is not an image document.
MAX_DOCUMENT = 4 << 20

# What one place may have of documents; few large ones that are named again and again count every time.
MAX_DOCUMENTS = 512 << 20

MAX_LAYERS = 10_000  # of one image; engines stop at little more than a hundred

T = TypeVar("T")


class Budget:
    """Counts the bytes of documents that a look at the place called `place` reads."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._left = MAX_DOCUMENTS

    def spend(self, size: int) -> None:
        """Count some bytes. Raises TooMuch once there were more than MAX_DOCUMENTS."""
        self._left -= size
        if self._left < 0:
            raise TooMuch(f"{self._place}: more than {MAX_DOCUMENTS} bytes of configs and manifests")


def read_document(blob: Blob, name: str, digest: Digest | None = None, budget: Budget | None = None) -> bytes:
    """All bytes of a small blob, which is closed.

    Raises InvalidImage if it is larger than MAX_DOCUMENT, Corrupt if its digest is not `digest`, TooMuch if it
    is beyond the budget.
    """
    with blob:
        if blob.size > MAX_DOCUMENT:
            raise InvalidImage(f"{name}: {blob.size} bytes are too many for a JSON document")
        if budget is not None:
            budget.spend(blob.size)
        data = blob.pread(blob.size, 0)
    if digest is not None and hashlib.new(digest.algorithm, data).hexdigest() != digest.hex:
        raise Corrupt(f"{name}: failed to verify, its content is not {digest}")
    return data


def parse_document(data: bytes, kind: type[T], name: str) -> T:
    """The document as a `kind`, a msgspec type. Raises InvalidImage naming `name`."""
    try:
        return json_decoder(kind).decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidImage(f"{name}: {error}") from None
