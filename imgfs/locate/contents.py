"""The sha256 digests of the contents of a layer's files, read where no index has them.

Tried by the tests of `imgfs locate --sha256`.
"""

import hashlib
import stat
from collections.abc import Callable

from imgfs.blob import Blob, Slice, SparseBlob, blob_chunks
from imgfs.layers import Layer, file_digests
from imgfs.tree import Tree

_MOST_HOLES = 16 << 30
"""Bytes of holes that are hashed in a layer: a tar of a few bytes may have any number, and hashing 8 EiB never ends."""


def file_digests_of(
    layer: Layer, tree: Tree, advance: Callable[[int], None], skip: Callable[[int], None]
) -> dict[int, bytes]:
    """The digest of each regular file that is not empty in a layer's tree, for each of its names.

    `advance` takes the bytes of files done since, `skip` each file that is not hashed, as there would be too many holes
    to hash. Raises what reading the layer raises.
    """
    left = _MOST_HOLES
    copy = tree.copies.get(0)
    known = file_digests(layer, copy)
    files = [
        entry
        for entry, mode in enumerate(tree.modes)
        if stat.S_ISREG(mode) and tree.sizes[entry] and tree.inode(entry) == entry
    ]
    found: dict[int, bytes] = {}
    with layer.open_content(copy) as content:
        for entry in sorted(files, key=tree.records.__getitem__):
            holes = tree.sizes[entry] - tree.stored_size(entry)
            if holes > left:
                skip(entry)
                continue
            left -= holes
            digest = known.at(tree.records[entry]) if known is not None and tree.stored_size(entry) else None
            found[entry] = digest or _digest_of(_content(content, tree, entry))
            advance(tree.sizes[entry])
    return found | {entry: found[first] for entry, first in tree.same.items() if first in found}


def _content(layer: Blob, tree: Tree, entry: int) -> Blob:
    data = Slice(layer, tree.records[entry] + tree.headers[entry], tree.stored_size(entry))
    parts = tree.sparse.get(entry)
    return data if parts is None else SparseBlob(data, parts, tree.sizes[entry])


def _digest_of(blob: Blob) -> bytes:
    sha = hashlib.sha256()
    for chunk in blob_chunks(blob):
        sha.update(chunk)
    return sha.digest()
