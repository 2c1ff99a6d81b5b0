"""Chain IDs: the digest of a stack of layers.

Format: OCI image specification, config.md, "Layer ChainID": the chain ID of one layer is its diff ID; of a
longer stack, the sha256 of the chain ID below, a space, and the diff ID on top.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from imgfs.digest import ChainID, DiffID


@lru_cache(1 << 16)  # images share stacks
def stacked(below: ChainID | None, diff_id: DiffID) -> ChainID:
    """The chain ID of a layer on top of the stack `below`."""
    return ChainID(diff_id) if below is None else ChainID.of(f"{below} {diff_id}".encode())


def chain_ids(diff_ids: Iterable[DiffID]) -> Iterator[ChainID]:
    """The chain ID of each layer of a stack, bottom first."""
    below: ChainID | None = None
    for diff_id in diff_ids:
        below = stacked(below, diff_id)
        yield below


def chain_id(diff_ids: Iterable[DiffID]) -> ChainID | None:
    """The chain ID of a whole stack; None for no layers."""
    top = None
    for top in chain_ids(diff_ids):  # noqa: B007  # only the last one is wanted
        pass
    return top
