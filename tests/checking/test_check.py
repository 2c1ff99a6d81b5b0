"""Checking an image; what the rules mean is tested with `imgfs check`."""

import errno
from collections.abc import Callable
from typing import TypeVar

import pytest

from imgfs.checking.check import matching_paths
from imgfs.rootfs import RootFS, TreeCache
from imgfs.store import LayerStack

T = TypeVar("T")


@pytest.mark.parametrize("pattern", ["/a", "/a/*", "a"])
def test_layers_that_cannot_be_read_are_not_taken_for_empty(pattern: str) -> None:
    def use_layers(work: Callable[[LayerStack], T]) -> T:
        raise PermissionError(errno.EACCES, "Permission denied", "layer")

    with pytest.raises(PermissionError):
        list(matching_paths(RootFS(use_layers, TreeCache(None), "image"), pattern))
