"""Compressed blobs: every codec forward, and in a pass, which come to the same."""

import bz2
import gzip
import lzma
from array import array
from functools import partial

import zstandard

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression, describe_unread, detect
from imgfs.codec.seek_table import START, SeekTableBuilder
from imgfs.codec.span_hasher import Spans
from imgfs.codec.span_map import pack_map, parse_map
from imgfs.errors import Corrupt
from tests.codec.encoders import gzip_member, skippable_frame, texture
from tests.codec.reloading import reloaded
from tests.fuzz.target import Target

_DATA = texture("words", 3000, 1) + bytes(3000)
_CORPUS = {
    Compression.GZIP: [
        gzip.compress(_DATA, 6, mtime=0),
        gzip_member(_DATA, flags=30) + gzip_member(b"") + b"\0\0",
    ],
    Compression.ZSTD: [zstandard.compress(_DATA), skippable_frame(9) + zstandard.compress(b"") * 2],
    Compression.XZ: [lzma.compress(_DATA), lzma.compress(b"") + bytes(4) + lzma.compress(b"a")],
    Compression.BZIP2: [bz2.compress(_DATA), bz2.compress(b"") + bz2.compress(b"a")],
}
_MOST = 64 << 20  # decoded bytes; a bomb is no failure


def _decode(compression: Compression, data: bytes) -> None:
    """What a pass finds is what decoding forward finds, and the table it makes is sound."""
    codec, blob = compression.codec, MemoryBlob(data)
    decoded, is_sound = bytearray(), True
    try:
        for chunk in codec.decode_from(blob, START):
            decoded += chunk
            if len(decoded) > _MOST:
                return
    except Corrupt:
        is_sound = False
    try:
        with codec.decode_pass(blob) as running:
            passed = b"".join(running)
            table = reloaded(running.table)
    except Corrupt:
        assert not is_sound
    else:
        assert is_sound
        assert passed == bytes(decoded)
        assert table.size == len(passed)


def _table(data: bytes) -> None:
    table, spans = parse_map(data, MemoryBlob(bytes(100)), 1000, 5000, is_plain=False)
    assert table is not None
    for number in range(len(spans or ())):
        assert spans is not None
        spans.stored_range(spans.run(number).start)
    for offset in (0, table.size // 2, table.size):
        table.point_before(offset)


def _some_table() -> bytes:
    builder = SeekTableBuilder()
    builder.add(100, 900, _DATA[:999])
    builder.add(500, 2000, b"")
    return pack_map(builder.build(1000, 5000), Spans(array("Q", [0, 100, 500]), bytes(96)))


def _detect(data: bytes) -> None:
    detect(MemoryBlob(data))
    assert describe_unread(MemoryBlob(data)).isprintable()


TARGETS = [
    *(Target(kind, partial(_decode, kind), corpus) for kind, corpus in _CORPUS.items()),
    Target("seek-table", _table, [_some_table()]),
    Target("detect", _detect, [corpus[0] for corpus in _CORPUS.values()]),
]
