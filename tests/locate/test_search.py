"""What is asked of entries, compared with what a look at each one finds, in layers of several blocks."""

import hashlib
import stat
import tarfile
from random import Random

import pytest

from imgfs.locate.layer_columns import LayerColumns
from imgfs.locate.place import BLOCK, CAPABLE
from imgfs.locate.search import Query
from imgfs.locate.segment_writer import pack_layer
from tests.locate.test_segment import segment
from tests.tree.stacks import Entry, layer_tree, tar

TYPES = [tarfile.REGTYPE] * 6 + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE]
CONTENTS = {hashlib.sha256(b"x" * size).digest(): size for size in (0, 3, 700)}
QUERIES = [
    *(Query(size=size) for size in ((0, 0), (1, 5), (600, 1 << 64), (5000, 1 << 64))),
    *(Query(mtime=(first * 10**9, last * 10**9)) for first, last in ((0, 5), (50, 60), (990, 5000))),
    Query(kind=lambda kind: stat.S_ISDIR(kind.mode)),
    Query(kind=lambda kind: kind.mode & 0o6000 != 0),
    Query(kind=lambda kind: kind.uid == 7, size=(1, 300), mtime=(0, 300 * 10**9)),
    Query(kind=lambda kind: bool(kind.flags & CAPABLE)),
    *(Query(digest=digest) for digest in (*CONTENTS, bytes(32))),
    Query(digest=next(reversed(CONTENTS)), kind=lambda kind: kind.uid < 5),
]


def layer(owners: int) -> LayerColumns:
    """A layer of several blocks, whose later blocks have the larger files and the later times."""
    random = Random(owners)
    entries = []
    for number in range(3 * BLOCK):
        kind = random.choice(TYPES)
        content = "x" * random.choice((0, 3, number, 700)) if kind == tarfile.REGTYPE else "to"
        mode = random.choice((0o644, 0o755, 0o4755, 0o2711))
        entries.append(Entry(f"{number:05}", kind, content, mode, random.randrange(owners), mtime=number))
    tree = layer_tree(tar(entries))
    for entry in random.sample(range(len(tree)), 5):
        tree.xattrs[entry] = {b"security.capability": b"\1"}
    digests = {
        entry: hashlib.sha256(b"x" * size).digest()
        for entry, size in enumerate(tree.sizes)
        if stat.S_ISREG(tree.modes[entry]) and size
    }
    (found,) = segment([pack_layer(bytes(32), tree, digests)]).layers
    return found


def has(query: Query, of: LayerColumns, entry: int) -> bool:
    kind, size = of.kind(entry), of.sizes[entry]
    is_file = stat.S_ISREG(kind.mode)
    return (
        (query.size is None or (is_file and query.size[0] <= size <= query.size[1]))
        and (query.mtime is None or query.mtime[0] <= of.mtimes[entry] <= query.mtime[1])
        and (query.digest is None or (is_file and CONTENTS.get(query.digest) == size))
        and (query.kind is None or query.kind(kind))
    )


@pytest.mark.parametrize("owners", [9, 5000], ids=["few-kinds", "many-kinds"])
def test_what_is_found_is_what_each_entry_says(owners: int) -> None:
    of = layer(owners)
    for number, query in enumerate(QUERIES):
        wanted = [entry for entry in range(1, len(of)) if has(query, of, entry)]
        assert list(query.candidates(of)) == wanted, number
