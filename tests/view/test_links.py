"""Names as directories and links."""

import logging
from collections.abc import Iterator

import pytest

from imgfs.digest import ImageID
from imgfs.sources.union import Snapshot
from imgfs.store import DigestIndex
from imgfs.view.links import TagTree

IMAGE = ImageID.of(b"image")


def _names(*names: str) -> dict[bytes, object]:
    tags = dict.fromkeys(names, IMAGE)
    snapshot = Snapshot({}, {}, {}, {}, tags, DigestIndex())
    return dict(TagTree().names(snapshot))


def _depth(names: object) -> Iterator[bytes]:
    while isinstance(names, dict):
        (part,) = names
        yield part
        names = names[part]


def test_a_name_that_is_longer_or_deeper_than_any_engine_takes_is_not_shown() -> None:
    assert _names("a/b:1", "a/" * 128 + "b", "a/" * 1_000_000) == {b"a": {b"b:1": IMAGE}}
    assert len(list(_depth(_names("a/" * 127 + "b")))) == 128


def test_directories_that_take_too_much_are_not_shown_and_the_names_before_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("imgfs.view.links._MEMORY", 15_000)
    with caplog.at_level(logging.WARNING):
        names = _names("good", *(f"{number}/" + "a/" * 4 + "x" for number in range(9)))
    assert names[b"good"] == IMAGE
    assert set(names) == {b"good", b"0", b"1"}
    (record,) = caplog.records
    assert "directories take more than 15000 bytes" in record.getMessage()
