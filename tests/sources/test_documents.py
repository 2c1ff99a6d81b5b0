"""Documents are read whole, within limits, and are what their digests say."""

import msgspec
import pytest

from imgfs.blob import MemoryBlob
from imgfs.budget import Budget
from imgfs.digest import Digest
from imgfs.errors import Corrupt, InvalidImage, TooMuch
from imgfs.sources.documents import parse_items, read_document


class _Item(msgspec.Struct):
    name: str


def test_a_document_is_read_if_it_is_what_its_digest_says() -> None:
    data = b'{"a": 1}'
    assert read_document(MemoryBlob(data), "x", Digest.of(data)) == data
    with pytest.raises(Corrupt, match=r"^x: failed to verify"):
        read_document(MemoryBlob(data + b" "), "x", Digest.of(data))


def test_a_document_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(InvalidImage, match=r"^x: 11 bytes are too many"):
        read_document(MemoryBlob(bytes(11)), "x", limit=10)


def test_documents_are_counted_by_what_they_take() -> None:
    budget = Budget("place", 10_000)
    read_document(MemoryBlob(b"{}"), "x", budget=budget)
    with pytest.raises(TooMuch, match=r"^place: configs and manifests take more than 10000 bytes$"):
        read_document(MemoryBlob(b"," * 1000), "x", budget=budget)


def test_items_are_read_one_by_one_with_their_numbers() -> None:
    reported: list[str] = []

    def report(text: str, **_: object) -> None:
        reported.append(text)

    items = parse_items(b'[{"name": "a"}, 5, {"name": "b"}]', _Item, "list", report)
    assert [(number, item.name) for number, item in items] == [(0, "a"), (2, "b")]
    assert ["item 1 of list" in text for text in reported] == [True]
    assert parse_items(b"[]", _Item, "list", report) == []
    with pytest.raises(InvalidImage, match=r"^list"):
        parse_items(b"5", _Item, "list", report)
