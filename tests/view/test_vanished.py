"""The names that are gone or lead elsewhere, as the top of the tree reports them."""

from pathlib import Path

import pytest

from imgfs.cache import Cache
from imgfs.sources.open_union import open_union
from imgfs.sources.opening import Opening
from imgfs.view import RootDirectory, ViewOptions
from tests.images import TestImage, layer_tar, oci_layout

A, B, C = (layer_tar({"name": text}) for text in (b"a", b"b", b"c"))


def vanished(folder: Path, before: list[TestImage], after: list[TestImage]) -> set[tuple[str, bytes]]:
    """What a tree reports as gone when a layout's images are replaced by others."""
    layout, other = oci_layout(folder / "before", before), oci_layout(folder / "after", after)
    with open_union([f"oci:{layout}"], Opening(Cache(str(folder / "cache"), 1 << 20))) as union:
        root = RootDirectory(union, ViewOptions())
        assert root.vanished() == []
        for blob in (other / "blobs/sha256").iterdir():
            blob.rename(layout / "blobs/sha256" / blob.name)
        (other / "index.json").rename(layout / "index.json")
        assert union.refresh()
        found = root.vanished()
        assert root.vanished() == []
        root.close()
    return set(found)


def test_images_and_their_names(tmp_path: Path) -> None:
    a, b = TestImage([A], ["x/a:1"]), TestImage([B], ["x/b:1"])
    gone = a.id[7:].encode()
    assert vanished(tmp_path, [a, b], [b]) == {("/images", gone), ("/heads", gone), ("/tags/x", b"a")}


def test_names_that_lead_elsewhere_and_none_that_come(tmp_path: Path) -> None:
    a, b = TestImage([A], ["x:1", "z/a:1"]), TestImage([B], ["y:1"])
    moved, more = TestImage([A], ["y:1", "z/a:1"]), TestImage([B], ["x:1", "z/z:1"])
    gone = vanished(tmp_path, [a, b], [moved, more, TestImage([C], [])])
    assert gone == {("/tags/x", b"1"), ("/tags/y", b"1")}


@pytest.mark.parametrize(("before", "after", "name"), [("x/y", "x/y/z", b"y"), ("x/y/z", "x/y", b"y")])
def test_a_name_that_becomes_a_directory_or_ceases_to_be_one(
    tmp_path: Path, before: str, after: str, name: bytes
) -> None:
    gone = vanished(tmp_path, [TestImage([A], [before])], [TestImage([A], [after])])
    assert gone == {("/tags/x", name)}


def test_a_directory_of_names_that_is_empty(tmp_path: Path) -> None:
    gone = vanished(tmp_path, [TestImage([A], ["x/y/z:1", "w:1"])], [TestImage([A], ["w:1"])])
    assert gone == {("/tags", b"x")}
