"""Names as directories and links."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgfs.digest import ImageID
from imgfs.sources.union import Snapshot
from imgfs.store import DigestIndex
from imgfs.view import Directory, Symlink
from imgfs.view.links import TagTree
from tests.images import TestImage
from tests.view.conftest import View, find

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
    assert _names("a/b:1", "a/" * 128 + "b", "a/" * 1_000_000) == {b"a": {b"b": {b"1": IMAGE}}}
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


def test_children_are_links_to_the_images_based_on_one(
    view: View, archive: Path, images: list[TestImage]
) -> None:
    root = view(archive)
    base, child, grandchild = images
    for image, expected in ((base, [child]), (child, [grandchild]), (grandchild, [])):
        folder = find(root, f"images/{image.id.hex}/children")
        assert isinstance(folder, Directory)
        links = dict(folder.entries())
        assert list(links) == [other.id.hex.encode() for other in expected]
        for name, link in links.items():
            assert isinstance(link, Symlink)
            assert link.target == b"../../" + name
        assert folder.lookup(b"0" * 64) is None


def test_a_link_among_thousands_is_found_without_a_look_at_the_others(
    monkeypatch: pytest.MonkeyPatch, view: View, archive: Path, images: list[TestImage]
) -> None:
    root = view(archive)
    base, child, grandchild = images
    heads = find(root, "heads")
    children = find(root, f"images/{base.id.hex}/children")
    assert isinstance(heads, Directory)
    assert isinstance(children, Directory)
    for folder in (heads, children):
        monkeypatch.setattr(type(folder), "entries", pytest.fail)
    assert find(heads, grandchild.id.hex).key == f"/heads/{grandchild.id.hex}"
    assert find(children, child.id.hex).key.endswith(f"/children/{child.id.hex}")
    for name in (base.id.hex, "0" * 64, "x", "\xff", base.id.hex[:12]):
        assert heads.lookup(name.encode()) is None
        assert children.lookup(name.encode()) is None
    assert children.lookup(grandchild.id.hex.encode()) is None


def test_a_repository_is_a_directory_of_tags() -> None:
    assert _names("a:1", "a:2", "r.io:5000/b/c:x", "bare") == {
        b"a": {b"1": IMAGE, b"2": IMAGE},
        b"r.io:5000": {b"b": {b"c": {b"x": IMAGE}}},
        b"bare": IMAGE,
    }


@pytest.mark.parametrize("names", [("a/b:c", "a/b/c:d"), ("a/b/c:d", "a/b:c")])
def test_a_tag_in_the_place_of_a_directory_is_listed_with_its_repository(names: tuple[str, str]) -> None:
    assert _names(*names) == {b"a": {b"b": {b"c": {b"d": IMAGE}}, b"b:c": IMAGE}}


def test_names_with_a_colon_can_be_looked_up(view: View, archive: Path, images: list[TestImage]) -> None:
    root = view(archive)
    tags = find(root, "tags/example")
    assert isinstance(tags, Directory)
    assert [name for name, _ in tags.entries()] == [b"base", b"child", b"grandchild"]
    for image in images:
        for tag in image.tags:
            repository, _, name = tag.partition("/")[2].partition(":")
            listed, colon = find(tags, f"{repository}/{name}"), find(tags, f"{repository}:{name}")
            assert isinstance(listed, Symlink) and isinstance(colon, Symlink)
            assert listed.target == b"../../../images/" + image.id.hex.encode()
            assert colon.target == b"../../images/" + image.id.hex.encode()
            assert (listed.name_may_change, colon.name_may_change) == (False, True)
    assert tags.lookup(b"base:2") is None
    assert tags.lookup(b"none:1") is None
