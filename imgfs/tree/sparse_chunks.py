"""Sparse files of a tree, divided into chunks of one size, each of which has data or is a hole.

Tried by the tests of `erofs_plan` and `squashfs_plan`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from imgfs.tree.assembly import Assembly
from imgfs.tree.tree import Tree


class Chunk(NamedTuple):
    """Bytes of a file from `start` to before `stop`.

    `part` is the number of the first part of the file that reaches into it or comes behind it, whose data are at
    `place` in the layer. `stored` is where the chunk is in the layer if all of it is there in one piece.
    """

    start: int
    stop: int
    is_hole: bool
    part: int
    place: int
    stored: int | None


def chunks(tree: Tree, entry: int, chunk_size: int) -> Iterator[Chunk]:
    """The chunks of a sparse file; the last one may be shorter."""
    parts, size = tree.sparse[entry], tree.sizes[entry]
    part, place = 0, tree.records[entry] + tree.headers[entry]
    for start in range(0, size, chunk_size):
        stop = min(start + chunk_size, size)
        while part < len(parts) and sum(parts[part]) <= start:
            place += parts[part][1]
            part += 1
        offset, length = parts[part] if part < len(parts) else (size, 0)
        is_whole = offset <= start and stop <= offset + length
        yield Chunk(start, stop, offset >= stop, part, place, place + start - offset if is_whole else None)


def add_chunk(plan: Assembly, tree: Tree, entry: int, chunk: Chunk) -> None:
    """Add a chunk of a sparse file to what a file is made of."""
    parts = tree.sparse[entry]
    done, place = chunk.start, chunk.place
    for part in range(chunk.part, len(parts)):
        offset, length = parts[part]
        low, high = max(chunk.start, offset), min(chunk.stop, offset + length)
        if low >= high:
            break
        plan.add_zeros(low - done)
        plan.add_layer(tree.layers[entry], place + low - offset, high - low)
        place, done = place + length, high
    plan.add_zeros(chunk.stop - done)
