"""Trees over real sources, looked at without a mount."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgfs.sources import open_source
from imgfs.sources.union import Union
from imgfs.view import Directory, File, Node, RootDirectory, ViewOptions, WaitingDirectory
from tests.images import TestImage, oci_layout
from tests.indexing import indexing

View = Callable[..., RootDirectory]


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    """Makes the tree of sources: `view("oci:…", verbatim_tar=True)`."""
    with indexing(tmp_path) as indexer:
        opened: list[tuple[RootDirectory, Union]] = []

        def make(
            *references: str | Path, verbatim_tar: bool = False, links_inside: bool = False
        ) -> RootDirectory:
            union = Union([open_source(str(reference), indexer) for reference in references])
            root = RootDirectory(union, ViewOptions(verbatim_tar, links_inside))
            opened.append((root, union))
            return root

        yield make
        for root, union in opened:
            root.close()
            union.close()


@pytest.fixture
def layout(tmp_path: Path, images: list[TestImage]) -> Path:
    """The family as an image layout."""
    return oci_layout(tmp_path / "layout", images)


def find(root: Node, path: str) -> Node:
    """The node at a path, which must be there."""
    node = root
    for name in path.split("/"):
        assert isinstance(node, Directory)
        below = node.lookup(name.encode())
        assert below is not None, f"{name} in {path}"
        node = below
    return node


def copy_out(root: Node, path: str, target: Path) -> None:
    """Copy the files below a directory, as `cp -r` does."""
    directory = find(root, path)
    assert isinstance(directory, Directory)
    if isinstance(directory, WaitingDirectory):
        directory.find(None)
    target.mkdir()
    for name, node in directory.entries():
        if isinstance(node, Directory):
            copy_out(directory, name.decode(), target / name.decode())
        else:
            (target / name.decode()).write_bytes(content(directory, name.decode()))


def content(root: Node, path: str) -> bytes:
    """All of the file at a path, whose size must be that."""
    node = find(root, path)
    assert isinstance(node, File)
    with node.open() as blob:
        data = blob.pread(blob.size, 0)
    assert node.find_size() == len(data)
    return data
