"""Mounts an image whose layers are directories: `python -m tests.rootfs.serving OPTIONS MOUNTPOINT FOLDER...`.

Below them is one layer that is a tar, of a file called `from-tar`. Says "ready" once the file system answers.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from imgfs.digest import ChainID, DiffID
from imgfs.layers import Indexer, Layer, chain_ids
from imgfs.mount import parse_options, serve
from imgfs.sources import Source
from imgfs.sources.finder import Finder, FoundImage, Report
from imgfs.sources.union import Union
from imgfs.store import Image
from imgfs.view import RootDirectory, ViewOptions
from tests.images import layer_tar
from tests.rootfs.roots import DirectoryLayer
from tests.store.stores import Layers, config_of

BOTTOM = layer_tar({"from-tar": b"kept in a tar\n"})


@dataclass(frozen=True)
class _LayerRef:
    """A layer that is made already."""

    layer: Layer

    @property
    def key(self) -> ChainID:
        return self.layer.chain_id

    def resolve(self, chain_id: ChainID, diff_id: DiffID, parent: ChainID | None, indexer: Indexer) -> Layer:
        return self.layer


class _TreesFinder(Finder):
    reference = "trees:"

    def __init__(self, image: Image, layers: Sequence[Layer]) -> None:
        self._found = FoundImage(image, [_LayerRef(layer) for layer in layers], ["trees"])

    def find(self, report: Report) -> list[FoundImage]:
        return [self._found]


class TreesSource(Source):
    """A source that has one image, of a layer in a tar and layers that are directories without tars."""

    def __init__(self, folders: list[Path]) -> None:
        diff_ids = [DiffID.of(BOTTOM), *(DiffID.of(bytes(folder)) for folder in folders)]
        chain = list(chain_ids(diff_ids))
        self.made: list[Layer] = list(Layers([BOTTOM]).table.values())
        for below, own, diff_id, folder in zip(chain, chain[1:], diff_ids[1:], folders, strict=False):
            self.made.append(DirectoryLayer(own, diff_id, below, folder))
        image = Image.from_config(config_of(diff_ids))
        self.image_id = image.id
        super().__init__(_TreesFinder(image, self.made), cast(Indexer, None))  # there is nothing to index


def main(options: str, top: str, *folders: str) -> None:
    union = Union([TreesSource(list(map(Path, folders)))])
    root = RootDirectory(union, ViewOptions())
    serve(root, top, parse_options(options), ready=lambda: print("ready", flush=True))
    root.close()
    union.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
