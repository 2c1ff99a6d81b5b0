"""What a layer is and how the store takes and releases one."""

from dataclasses import dataclass
from typing import Protocol

from imgfs.blob import Blob
from imgfs.digest import ChainID, DiffID
from imgfs.errors import StoreError
from imgfs.tar import TarBlob
from imgfs.tree import Tree


@dataclass(frozen=True, slots=True)
class LayerMetadata:
    """What is told of a layer that nobody refers to any more.

    `size` is the size of its tar in bytes, None where that was never learnt.
    """

    chain_id: ChainID
    diff_id: DiffID
    parent: ChainID | None
    size: int | None


class Layer(Protocol):
    """One layer in its place in a stack: a tree, the content of its files, and a tar if it is kept as one.

    All that may block raises ImgfsError or OSError if what it reads is not there.
    """

    @property
    def chain_id(self) -> ChainID: ...

    @property
    def diff_id(self) -> DiffID: ...

    @property
    def parent(self) -> ChainID | None:
        """The chain ID of the layer below, None at the bottom."""

    @property
    def known_size(self) -> int | None:
        """The exact size of the layer's tar if that is in memory, else None. Never blocks, and raises nothing."""

    def look_for_size(self) -> int | None:
        """The exact size of the layer's tar, None if it is not known without reading all of it.

        Opens files and reads little of them; what was found, or not found, is remembered. Raises what `open` raises.
        """

    @property
    def has_tar(self) -> bool:
        """Whether the layer is kept in a way from which its tar can be had. Never blocks."""

    def open(self) -> TarBlob:
        """The layer's tar, byte for byte; the caller closes it.

        Cheap: pins what is stored, so that it stays readable when the store drops it; decodes nothing before
        the first read. Raises StoreError if the layer has no tar.
        """

    def tree(self) -> Tree:
        """What the layer alone unpacks to, whiteouts as files; the caller may keep it, and must not change it.

        Of a tar that is damaged, what comes before the damage, which is logged. May block until the layer is indexed.
        """

    def open_content(self, copy: str | None = None) -> Blob:
        """What the files of the tree hold, at the places that it says; the caller closes it. Cheap as `open` is.

        `copy` is what `Tree.copies` says of the layer, None if nothing: then this is its tar, whichever copy that is
        read from. Raises StoreError if this is not the copy whose places those are.
        """

    @property
    def is_verified(self) -> bool:
        """Whether what `tree` returns comes of bytes that have been compared with the diff ID."""


def check_copy(layer: Layer, own: str | None, wanted: str | None) -> None:
    """Raises StoreError unless the places of a tree that is of the copy `wanted` are those of `own`."""
    if wanted != own:
        raise StoreError(
            f"layer {layer.diff_id}: the copy of it that its files were found in is not there any more"
        )


class LayerProvider(Protocol):
    """Hands out layers by chain ID, counting references. Safe to call from several threads."""

    def get(self, chain_id: ChainID) -> Layer:
        """Take a layer; raises LayerNotFound. Each call is matched by one `release`."""

    def peek(self, chain_id: ChainID) -> Layer:
        """A layer as this place alone has it, not taken. Raises as `get` does."""

    def taken(self, chain_id: ChainID) -> Layer | None:
        """A layer that is taken by any caller at the moment, else None. Never blocks, and takes nothing."""

    def release(self, layer: Layer) -> list[LayerMetadata]:
        """Give a layer back; answers the layers that nobody refers to any more, top first."""
