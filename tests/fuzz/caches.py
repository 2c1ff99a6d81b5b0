"""Files of the cache. Their hashes are made right, so that what is behind them is reached."""

import hashlib
import io
import struct

import msgspec

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression
from imgfs.layers.index_file import _MAGIC as INDEX_MAGIC
from imgfs.layers.index_file import IndexHeader, LayerIndex, _hash, write_index
from imgfs.layers.member_list import MemberPacker, unpack_members
from imgfs.tar import scan_blob
from imgfs.tree.build import build_tree
from imgfs.tree.tree_file import _MAGIC as TREE_MAGIC
from imgfs.tree.tree_file import dump_tree, load_tree
from tests.fuzz.target import Target
from tests.images import digest, layer_tar

_MEMBERS = list(scan_blob(MemoryBlob(layer_tar({"d": None, "d/a": b"1", "b": b"2"}))))


def _packed() -> bytes:
    packer = MemberPacker()
    packer.add(_MEMBERS)
    return packer.finish()


def _header() -> bytes:
    """The header of an index as it lies in it."""
    header = IndexHeader(Compression.GZIP, digest(b""), 0, digest(b""), 0, None, "")
    file = io.BytesIO()
    names = "stored", "plain", "spans", "windows", "files"
    write_index(file, header, dict.fromkeys(names, b"") | {"members": _packed()})
    start = len(INDEX_MAGIC) + 4
    (length,) = struct.unpack("<I", file.getvalue()[start - 4 : start])
    return file.getvalue()[start : start + length]


def _index(header: bytes) -> None:
    start = INDEX_MAGIC + struct.pack("<I", len(header)) + header
    file = MemoryBlob(start + _hash(start) + bytes(300))
    list(LayerIndex.load(file, lambda: file).members())


def _tree(body: bytes) -> None:
    load_tree(MemoryBlob(TREE_MAGIC + body + hashlib.sha256(body).digest()), 1)


def _tree_body() -> bytes:
    file = io.BytesIO()
    dump_tree(build_tree(_MEMBERS, "fuzz"), file)
    return file.getvalue()[len(TREE_MAGIC) : -hashlib.sha256().digest_size]


TARGETS = [
    Target("members", lambda data: list(unpack_members(data)), [_packed(), msgspec.msgpack.encode([])]),
    Target("index", _index, [_header()]),
    Target("tree", _tree, [_tree_body()]),
]
