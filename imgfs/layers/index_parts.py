"""The index of a layer as blobs in a registry: the same sections as in the cache, apart.

`map`: a magic line, the length of the header, the header (msgpack) and the section `spans`; `members` as
`compact_members` packs them; `files` as the section of that name; `windows` of the seek points, which is read by range,
on demand. The same layer has the same blobs wherever they were made, if by the same version of rapidgzip. What is read
is not trusted: sizes, order and digests are checked when it is parsed, Corrupt if they do not fit, and every span when
it is decoded. Tried by the tests of `remote_layer`.
"""

import struct
from collections.abc import Callable

import msgspec

from imgfs.blob import Blob
from imgfs.decoders import msgpack_decoder
from imgfs.digest import DiffID, Digest
from imgfs.errors import Corrupt, InvalidDigest, StoreError
from imgfs.layers.compact_members import compact
from imgfs.layers.index_file import IndexHeader, LayerIndex
from imgfs.layers.trust import Level

_MAGIC = b"imgfs layer map, version 1\n"
_LENGTH = struct.Struct("<I")


class IndexParts(msgspec.Struct, frozen=True):
    """The blobs that one index is kept as."""

    map: bytes
    members: bytes
    windows: bytes
    files: bytes


def parts_of(index: LayerIndex) -> IndexParts:
    """The blobs of an index. Raises StoreError if it has no digests of spans, and what reading its members raises."""
    if index.spans is None:
        raise StoreError(f"the index of blob {index.header.stored_digest} has no digests of spans")
    header = msgspec.structs.replace(index.header, sections={}, archive="")
    packed = msgspec.msgpack.encode(header, enc_hook=str)
    return IndexParts(
        _MAGIC + _LENGTH.pack(len(packed)) + packed + index.packed,
        compact(index.members()),
        index.windows.pread(index.windows.size, 0),
        index.file_digests(),
    )


def read_map(data: bytes) -> IndexHeader:
    """The header of a map, and nothing else of it. Raises Corrupt."""
    return _split(data)[0]


def index_from_parts(data: bytes, windows: Blob, read: Callable[[str], bytes], level: Level) -> LayerIndex:
    """The index with this `map`, not to be kept as one that was proved here.

    `windows` must stay readable while the index is used; `read` returns the blob `members` or `files`, when it is asked
    for. Raises Corrupt if the map does not fit together, or has no digests of spans.
    """
    header, packed = _split(data)
    index = LayerIndex(header, packed, windows, read, level=level)
    if index.spans is None:
        raise Corrupt("layer map: no digests of spans")
    return index


def _split(data: bytes) -> tuple[IndexHeader, bytes]:
    start = len(_MAGIC) + _LENGTH.size
    if not data.startswith(_MAGIC) or len(data) < start:
        raise Corrupt("layer map: of another version, or no map")
    end = start + _LENGTH.unpack_from(data, len(_MAGIC))[0]
    try:
        header = msgpack_decoder(IndexHeader).decode(data[start:end])
        DiffID(header.diff_id), Digest(header.stored_digest)
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidDigest) as error:
        raise Corrupt(f"layer map: {error}") from None
    return header, data[end:]
