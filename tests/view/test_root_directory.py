"""The top of the mounted tree."""

from pathlib import Path

from imgfs.view import Directory
from tests.view.conftest import View


def test_the_top_has_images_and_two_kinds_of_links_to_them(view: View, archive: Path) -> None:
    root = view(archive)
    assert [name for name, _ in root.entries()] == [b"images", b"tags", b"heads"]
    for name, node in root.entries():
        assert isinstance(node, Directory)
        assert root.lookup(name) is node
    assert root.lookup(b"other") is None
