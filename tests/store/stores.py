"""Configs and layers for the tests of the store."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imgfs.blob import Blob, MemoryBlob
from imgfs.digest import ChainID, DiffID, ImageID
from imgfs.errors import LayerNotFound
from imgfs.layers import Layer, LayerRegistry, chain_ids
from imgfs.layers.layer import check_copy
from imgfs.store import ImageStore
from imgfs.tar import ScannedTar, TarBlob, scan_blob
from imgfs.tree import Tree, build_tree

ABSENT = ImageID.of(b"absent")
BOTTOM, MIDDLE, TOP = b"bottom layer", b"the middle one", b"top"


@dataclass(frozen=True)
class PlainLayer:
    """A layer whose tar is in memory; its size is known if `known_size` says so."""

    chain_id: ChainID
    diff_id: DiffID
    parent: ChainID | None
    data: bytes
    known_size: int | None

    def open(self) -> TarBlob:
        return ScannedTar(MemoryBlob(self.data))

    is_verified = True
    has_tar = may_have_tar = True

    def look_for_size(self) -> int | None:
        return self.known_size

    listed_size = look_for_size

    def tree(self) -> Tree:
        return build_tree(scan_blob(MemoryBlob(self.data)), f"layer {self.diff_id}")

    def open_content(self, copy: str | None = None) -> Blob:
        check_copy(self, None, copy)
        return self.open()


class Layers(LayerRegistry):
    """A provider of the layers in `table`, which may be changed."""

    def __init__(self, *stacks: Sequence[bytes]) -> None:
        self.table: dict[ChainID, Layer] = {}
        super().__init__(self._look_up)
        for stack in stacks:
            self.add(stack)

    def add(self, stack: Sequence[bytes], known_sizes: Iterable[int | None] | None = None) -> list[ChainID]:
        """Add a stack of layers, bottom first, and answer their chain IDs."""
        diff_ids = [DiffID.of(data) for data in stack]
        sizes = [len(data) for data in stack] if known_sizes is None else known_sizes
        parent = None
        added = []
        for chain_id, diff_id, data, size in zip(chain_ids(diff_ids), diff_ids, stack, sizes, strict=True):
            self.table[chain_id] = PlainLayer(chain_id, diff_id, parent, data, size)
            parent = chain_id
            added.append(chain_id)
        return added

    def _look_up(self, chain_id: ChainID) -> Layer:
        try:
            return self.table[chain_id]
        except KeyError:
            raise LayerNotFound(f"no layer with chain ID {chain_id}") from None


def config(comment: str = "", layers: Sequence[bytes] = (), **fields: object) -> bytes:
    """A small config of an image with these layers."""
    return config_of([DiffID.of(layer) for layer in layers], comment=comment, **fields)


def config_of(diff_ids: Sequence[DiffID], **fields: object) -> bytes:
    """A small config of an image with layers of these diff IDs."""
    return json.dumps({"rootfs": {"type": "layers", "diff_ids": diff_ids}} | fields).encode()


def family(store: ImageStore) -> tuple[ImageID, ImageID, ImageID]:
    """Create a base, a child of it and a grandchild, and answer their IDs."""
    base = store.create(config("base", [BOTTOM]))
    child = store.create(config("child", [BOTTOM, MIDDLE]), parent=base)
    return base, child, store.create(config("grandchild", [BOTTOM, MIDDLE, TOP]), parent=child)
