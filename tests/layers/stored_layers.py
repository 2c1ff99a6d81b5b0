"""Layers made in code, stored in every way."""

import bz2
import lzma
from collections.abc import Callable
from pathlib import Path

import zstandard

from imgfs.blob import Blob, FileBlob, MemoryBlob
from imgfs.digest import ChainID, DiffID, Digest
from imgfs.layers import BlobLayer, Indexer
from imgfs.layers.index_file import LayerIndex
from tests.codec.encoders import gzip_member, texture
from tests.images import layer_tar


def big_tar(size: int = 12_000_000) -> bytes:
    """A tar of files of different textures, `size` bytes of them in all."""
    kinds = ("words", "noise", "zeros")
    files: dict[str, bytes | None] = {}
    for number in range(12):
        files[f"file-{number}"] = texture(kinds[number % 3], size // 12, number)
    return layer_tar(files)


def many_frames(data: bytes, size: int = 1 << 20) -> bytes:
    return b"".join(zstandard.compress(data[start : start + size]) for start in range(0, len(data), size))


def one_frame(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(data)


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda data: gzip_member(data, 1),
    "gzip members": lambda data: (
        gzip_member(data[: len(data) // 3], 1) + gzip_member(data[len(data) // 3 :], 1)
    ),
    "gzip and garbage": lambda data: gzip_member(data, 1) + b"garbage" * 100,
    "zstd frames": many_frames,
    "zstd frame": one_frame,
    "xz": lambda data: lzma.compress(data, preset=0),
    "bzip2": lambda data: bz2.compress(data, 1),
}


def stored_layer(
    indexer: Indexer, path: Path, data: bytes, encoder: str = "gzip", *, digest_known: bool = True
) -> BlobLayer:
    """A layer whose stored bytes are the file at `path`, written now."""
    stored = ENCODERS[encoder](data)
    path.write_bytes(stored)
    diff_id = DiffID.of(data)
    digest = Digest.of(stored) if digest_known else None
    return BlobLayer(ChainID(diff_id), diff_id, None, lambda: FileBlob(path), indexer, digest)


def layer_of(
    indexer: Indexer, stored: bytes, plain: bytes, open_blob: Callable[[], Blob] | None = None
) -> BlobLayer:
    """A layer whose stored bytes `open_blob` opens, or are in memory."""
    diff_id = DiffID.of(plain)
    return BlobLayer(
        ChainID(diff_id), diff_id, None, open_blob or (lambda: MemoryBlob(stored)), indexer, Digest.of(stored)
    )


def index_of(layer: BlobLayer, *, with_copy: bool = True) -> LayerIndex:
    """The index of a layer, made now if it never was."""
    with layer.content() as content:
        return content.wait_for_index(with_copy=with_copy)
