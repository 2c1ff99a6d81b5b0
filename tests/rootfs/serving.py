"""Mounts an image whose layers are directories, in front: `python -m tests.rootfs.serving MOUNTPOINT FOLDER...`.

Below them is one layer that is a tar, of a file called `from-tar`. Says "ready" once the file system answers.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from imgfs.digest import DiffID, ImageID
from imgfs.layers import chain_ids
from imgfs.mount import parse_options, serve
from imgfs.sources import Source
from imgfs.sources.union import Union
from imgfs.store import ImageStore, MemoryBackend
from imgfs.view import RootDirectory, ViewOptions
from tests.images import layer_tar
from tests.rootfs.roots import DirectoryLayer
from tests.store.stores import Layers, config_of

BOTTOM = layer_tar({"from-tar": b"kept in a tar\n"})


class TreesSource(Source):
    """A source that has one image, of a layer in a tar and layers that are directories without tars."""

    reference = "trees:"

    def __init__(self, folders: list[Path]) -> None:
        self.layers: Layers = Layers([BOTTOM])
        diff_ids = [DiffID.of(BOTTOM), *(DiffID.of(bytes(folder)) for folder in folders)]
        chain = list(chain_ids(diff_ids))
        for below, own, diff_id, folder in zip(chain, chain[1:], diff_ids[1:], folders, strict=False):
            self.layers.table[own] = DirectoryLayer(own, diff_id, below, folder)
        self.store = ImageStore(MemoryBackend(), self.layers)
        self.image_id = self.store.create(config_of(diff_ids))

    @property
    def tags(self) -> Mapping[str, ImageID]:
        return {"trees": self.image_id}

    def refresh(self) -> bool:
        return False


def main(top: str, *folders: str) -> None:
    union = Union([TreesSource(list(map(Path, folders)))])
    root = RootDirectory(union, ViewOptions())
    serve(root, top, parse_options(""), ready=lambda: print("ready", flush=True))
    root.close()
    union.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
