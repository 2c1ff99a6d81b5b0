"""Trees over real sources, looked at without a mount."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgfs.sources import open_source
from imgfs.sources.union import Union
from imgfs.view import Directory, File, Node, RootDirectory, ViewOptions
from tests.images import TestImage, oci_layout
from tests.indexing import indexing

View = Callable[..., RootDirectory]


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    """Makes the tree of sources: `view("oci:…", verbatim_tar=True)`."""
    with indexing(tmp_path) as indexer:
        opened: list[tuple[RootDirectory, Union]] = []

        def make(*references: str | Path, verbatim_tar: bool = False) -> RootDirectory:
            union = Union([open_source(str(reference), indexer) for reference in references])
            root = RootDirectory(union, ViewOptions(verbatim_tar=verbatim_tar))
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


def find(root: Directory, path: str) -> Node:
    """The node at a path, which must be there."""
    node: Node = root
    for name in path.split("/"):
        assert isinstance(node, Directory)
        below = node.lookup(name.encode())
        assert below is not None, f"{name} in {path}"
        node = below
    return node


def content(root: Directory, path: str) -> bytes:
    """All of the file at a path, whose size must be that."""
    node = find(root, path)
    assert isinstance(node, File)
    with node.open() as blob:
        data = blob.pread(blob.size, 0)
    assert node.find_size() == len(data)
    return data
