"""The top of the mounted tree."""

import json
from pathlib import Path

from imgfs.registry.stats import Stats
from imgfs.sources.union import Union
from imgfs.view import Directory, RootDirectory, ViewOptions
from imgfs.view.node import File
from tests.view.conftest import View


def test_the_top_has_images_two_kinds_of_links_to_them_and_a_layout(view: View, archive: Path) -> None:
    root = view(archive)
    assert [name for name, _ in root.entries()] == [b"images", b"tags", b"heads", b"oci"]
    for name, node in root.entries():
        assert isinstance(node, Directory)
        assert root.lookup(name) is node
    assert root.lookup(b"other") is None


def test_what_was_asked_of_registries_is_in_a_directory_that_is_not_listed() -> None:
    stats = Stats()
    root = RootDirectory(Union([]), ViewOptions(), stats=stats)
    own = root.lookup(b".imgfs")
    assert isinstance(own, Directory)
    assert b".imgfs" not in dict(root.entries())
    (name, node), *others = own.entries()
    assert (name, others) == (b"stats", [])
    assert isinstance(node, File)
    for count in range(2):
        with node.open() as blob:
            assert json.loads(blob.pread(blob.size, 0))["total"]["requests"] == count
        stats.count("h.example", "requests")
    root.close()


def test_without_registries_there_is_no_such_directory() -> None:
    root = RootDirectory(Union([]), ViewOptions())
    assert root.lookup(b".imgfs") is None
    root.close()
