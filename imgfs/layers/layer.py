"""What a layer is and how the store takes and releases one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from imgfs.digest import ChainID, DiffID
from imgfs.tar import Member, TarBlob


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
    """One layer in its place in a stack."""

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

    def open(self) -> TarBlob:
        """The layer's tar, byte for byte; the caller closes it.

        Cheap: pins what is stored, so that it stays readable when the store drops it; decodes nothing before
        the first read. Raises ImgfsError or OSError if the layer's bytes are not there.
        """

    def members(self) -> Sequence[Member]:
        """Every member of the layer's tar, in order; of one that is damaged, those before the damage, which is logged.

        May block until the layer is indexed. Raises what reading the layer raises.
        """

    @property
    def is_verified(self) -> bool:
        """Whether what `members` answers comes of bytes that have been compared with the diff ID."""


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
