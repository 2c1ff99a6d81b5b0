"""What a layer is and how the store takes and releases one.

What it promises is tried by the tests of each kind of layer.
"""

from typing import Protocol

import msgspec

from imgfs.blob import Blob
from imgfs.digest import ChainID, DiffID
from imgfs.errors import StoreError
from imgfs.tar import TarBlob
from imgfs.tree import Tree


class LayerMetadata(msgspec.Struct, frozen=True):
    """Describes a layer that is no longer referred to.

    `size` is the size of its tar in bytes, None if that was never known.
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

        Opens files and reads little of them; the result is remembered, even if it is None. Raises what `open` raises.
        """

    def listed_size(self) -> int | None:
        """The size of its content in bytes as the engine that keeps it records it, else of its tar, as `look_for_size`.

        Reads less than that where an engine records one. Raises what `open` raises.
        """

    @property
    def has_tar(self) -> bool:
        """Whether the layer is stored in a way that gives its tar. Never blocks."""

    @property
    def may_have_tar(self) -> bool:
        """Whether `open` may give the tar, be it stored or made of files that are. Never blocks."""

    def open(self) -> TarBlob:
        """The layer's tar, byte for byte; the caller closes it.

        Cheap where it `has_tar`: decodes nothing before the first read; else reads all files. Holds open what is
        stored, so the tar stays readable when the layer is released, or its files are removed. Raises StoreError if the
        layer has no tar.
        """

    def tree(self) -> Tree:
        """What the layer alone unpacks to, with whiteouts as files; it is shared, and must not be changed.

        Of a damaged tar, what comes before the damage, which is logged. May block until the layer is indexed.
        """

    def open_content(self, copy: str | None = None) -> Blob:
        """What the files of the tree hold, at the places that it says; the caller closes it. Cheap as `open` is.

        `copy` is what `Tree.copies` says of the layer, None if nothing: then this is its tar, whichever copy that is
        read from. Raises StoreError if this is not the copy whose places those are.
        """

    @property
    def is_verified(self) -> bool:
        """Whether `tree` is made from bytes that have been compared with the diff ID."""


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
        """A layer as this provider alone has it, not taken. Raises as `get` does."""

    def taken(self, chain_id: ChainID) -> Layer | None:
        """A layer if it is taken at the moment, by any caller, else None. Never blocks, and takes nothing."""

    def release(self, layer: Layer) -> list[LayerMetadata]:
        """Give a layer back; returns the layers that are no longer referred to, top first."""
