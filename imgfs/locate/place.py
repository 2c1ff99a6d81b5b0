"""Where the columns of a layer lie in a segment, and the form of each.

Form: as `segment` has it. Tried by the tests of that.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

ROW = struct.Struct("<32sQQQQIIIIIIIIHH")
"""The fields of `Place`."""
BLOCK = 512
"""Entries that one value of `ZONE` stands for."""
ZONE = struct.Struct("<Qqq")
"""The largest size, and the earliest and the latest time in nanoseconds, of some entries."""
KIND = struct.Struct("<4I")
DIGEST_SIZE = 32

UNSEEN, OPAQUE, CAPABLE, LINKED = 1, 2, 4, 8
"""Flags of kinds: a whiteout or what is below one, an opaque directory, what has a capability, a hard link to what a
lower layer has."""

HAS_DIGESTS = 16
"""Of a layer, besides the flags that some of its entries have."""


class Kind(NamedTuple):
    """What many entries of a layer have in common: their mode, type included, their owners, and flags."""

    mode: int
    uid: int
    gid: int
    flags: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a layer's columns lie in a segment: a row of the table.

    `names` and `block` are where those begin; of `count` entries, so many have `digests` or are `symlinks`, whose
    targets have `targets_size` bytes; of so many `capitals`, the names in small letters take `folded_size` bytes;
    `kinds` is how many of these there are, `width` the bytes of the number of one, and `links_size` the bytes that
    `LayerColumns.links` take; `facts` are those below.
    """

    key: bytes
    names: int
    names_size: int
    block: int
    block_size: int
    count: int
    digests: int
    symlinks: int
    targets_size: int
    capitals: int
    folded_size: int
    kinds: int
    links_size: int
    width: int
    facts: int

    @property
    def has_digests(self) -> bool:
        """Whether the digests of all contents are there."""
        return bool(self.facts & HAS_DIGESTS)


def padded(size: int) -> int:
    """A size rounded up, so that a column may begin behind it."""
    return -(-size // 8) * 8


def columns_of(place: Place) -> Iterator[tuple[str, int, int]]:
    """The columns in a block in their order: their names, where they begin and how many bytes they have."""
    sizes = {
        "kinds": place.kinds * KIND.size,
        "kind_numbers": place.count * place.width,
        "zones": -(-place.count // BLOCK) * ZONE.size,
        "ends": place.count * 4,
        "parents": place.count * 4,
        "sizes": place.count * 8,
        "mtimes": place.count * 8,
        "links": place.links_size,
        "symlinks": place.symlinks * 4,
        "target_ends": place.symlinks * 4,
        "targets": place.targets_size,
        "capitals": place.capitals * 4,
        "folded_names": place.folded_size,
        "digest_entries": place.digests * 4,
        "digests": place.digests * DIGEST_SIZE,
    }
    at = place.block
    for name, size in sizes.items():
        yield name, at, size
        at += padded(size)
