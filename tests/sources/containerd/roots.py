"""Roots of containerd made in code."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.images import TestImage, oci_layout
from tests.sources.containerd.bolt_files import Tree, database_of


class Root:
    """A root with some images in its content store; `manifests` are the digests of theirs."""

    def __init__(self, path: Path, *images: TestImage) -> None:
        self.path = path
        self.content = path / "io.containerd.content.v1.content"
        self.database = path / "io.containerd.metadata.v1.bolt/meta.db"
        self.database.parent.mkdir(parents=True)
        self._transaction = 1
        oci_layout(self.content, [TestImage(image.layers, ["t"], extra=image.extra) for image in images])
        index = json.loads((self.content / "index.json").read_text())
        self.manifests: list[str] = [entry["digest"] for entry in index["manifests"]]

    def name(self, names: Mapping[str, Mapping[str, str]]) -> None:
        """Write the database: names of manifests, by namespace."""
        self.write(
            {
                space: {name.encode(): entry(target) for name, target in names[space].items()}
                for space in names
            }
        )

    def write(self, images: Mapping[str, Tree]) -> None:
        """Write the database: buckets of images, by namespace."""
        spaces: Tree = {space.encode(): {b"images": tree} for space, tree in images.items()}
        self._transaction += 1
        tree: Tree = {b"v1": {b"version": b"\x06", **spaces}}
        self.database.write_bytes(database_of(tree, transaction=self._transaction))


def entry(target: str) -> Tree:
    return {b"createdat": b"1", b"target": {b"digest": target.encode(), b"mediatype": b"x", b"size": b"\2"}}
