"""Tar-splits for tests."""

from pathlib import Path

from imgfs.blob import MemoryBlob, Root
from imgfs.blob.file_tree import FileTree
from imgfs.tar.split.recipe import parse_recipe
from imgfs.tar.split.split_tar import Split, SplitTar


def split_of(stored: bytes) -> Split:
    """The tar-split stored in these bytes."""
    return Split(parse_recipe(MemoryBlob(stored), "layer"), "layer")


def tar_of(stored: bytes, files: Path) -> SplitTar:
    """The tar that a stored tar-split makes with the files of a directory."""
    return SplitTar(lambda: split_of(stored), FileTree(Root(files)), None)
