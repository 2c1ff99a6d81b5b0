"""JSON documents that come from outside: read whole within a limit, checked against a digest, parsed to a type."""

from typing import Any, TypeVar

import msgspec

from imgfs.blob import Blob
from imgfs.budget import MIB, Budget
from imgfs.digest import Digest
from imgfs.errors import Corrupt, InvalidImage
from imgfs.go_json import parse_json
from imgfs.sources.finder import Report

# The same limit containers/image puts on manifests and configs; what is larger is not an image document.
MAX_DOCUMENT = 4 * MIB

MAX_LIST = 64 * MIB
"""Of what lists the images of a whole place; a hundred thousand names take some 25 MB."""

# What one place may have of documents; those that are named again and again count every time.
MAX_DOCUMENTS = 512 * MIB
_LOOK, _VALUE = 2048, 24  # bytes that reading any document counts besides its own, and each value in it

MAX_LAYERS = 10_000  # of one image; engines stop at little more than a hundred

T = TypeVar("T")


def reading_budget(place: str) -> Budget:
    """What a look at the place called `place` may read of documents."""
    return Budget(place, MAX_DOCUMENTS)


def read_document(
    blob: Blob,
    name: str,
    digest: Digest | None = None,
    budget: Budget | None = None,
    limit: int = MAX_DOCUMENT,
) -> bytes:
    """All bytes of a small blob, which is closed.

    Raises InvalidImage if it has more than `limit` bytes, Corrupt if its digest is not `digest`, TooMuch if it
    is beyond the budget.
    """
    with blob:
        if blob.size > limit:
            raise InvalidImage(f"{name}: {blob.size} bytes are too many for a JSON document")
        data = blob.pread(blob.size, 0)
    if budget is not None:
        budget.spend(len(data) + _LOOK + _VALUE * data.count(b","), "configs and manifests")
    if digest is not None and not digest.is_of(data):
        raise Corrupt(f"{name}: failed to verify, its content is not {digest}")
    return data


def parse_document(data: bytes, kind: type[T], name: str) -> T:
    """The document as a `kind`, a msgspec type. Raises InvalidImage naming `name`."""
    return parse_json(data, kind, name)


def parse_items(data: bytes | msgspec.Raw, kind: type[T], name: str, report: Report) -> list[tuple[int, T]]:
    """The items of a list, each a `kind`, with their numbers from 0; none for null.

    An item that is none is reported, and the others are there. Raises InvalidImage naming `name` if it is no list.
    """
    shape: Any = list[kind]  # type: ignore[valid-type]
    try:
        return list(enumerate(parse_json(data, shape, name)))
    except InvalidImage:
        pass  # of an item, or of all
    items = []
    for number, item in enumerate(parse_json(data, list[msgspec.Raw], name)):
        what = f"item {number} of {name}"
        try:
            items.append((number, parse_json(item, kind, what)))
        except InvalidImage as error:
            report(f"skipping {error}")
    return items
