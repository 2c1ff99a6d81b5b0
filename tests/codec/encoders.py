"""Plain bytes of every texture, and every way of storing them that a reader must undo, for hypothesis."""

import bz2
import lzma
import random
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise

import zstandard
from hypothesis import strategies as st

from imgfs.codec import Compression

GARBAGE = (b"", b"\0", b"\0" * 700, b"not a member at all", b"\0\0\x1f\x8b\x08")


@dataclass(frozen=True)
class Stored:
    """Bytes, how they are stored, and a word on it for failure reports."""

    plain: bytes
    stored: bytes
    compression: Compression
    note: str
    checked: bool = True
    """Whether all of it is under checksums, so that damage cannot go unnoticed."""

    def __repr__(self) -> str:
        return f"Stored({len(self.plain)} bytes as {len(self.stored)}, {self.compression}, {self.note})"


def texture(kind: str, size: int, seed: int) -> bytes:
    """`size` bytes that compress well, badly, not at all, or to nearly nothing."""
    dice = random.Random(seed)
    if kind == "zeros":
        return bytes(size)
    if kind == "noise":
        return dice.randbytes(size)
    words = [dice.randbytes(dice.randrange(2, 9)) for _ in range(40)]
    words = [words[number % len(words)] for number in range(256)]
    made = bytearray()
    while len(made) < size:
        made += b"".join(map(words.__getitem__, dice.randbytes(1 << 12)))
    return bytes(made[:size])


def gzip_member(
    data: bytes, level: int = 6, strategy: int = zlib.Z_DEFAULT_STRATEGY, flush_every: int = 0, flags: int = 0
) -> bytes:
    """A gzip member with the header fields that `flags` asks for (RFC 1952 2.3.1)."""
    header = struct.pack("<2sBBIBB", b"\x1f\x8b", 8, flags, 0, 0, 255)
    if flags & 4:
        header += b"\x05\0extra"
    if flags & 8:
        header += b"name\0"
    if flags & 16:
        header += b"comment\0"
    if flags & 2:
        header += struct.pack("<H", zlib.crc32(header) & 0xFFFF)
    encoder = zlib.compressobj(level, zlib.DEFLATED, -15, 8, strategy)
    step = flush_every or max(1, len(data))
    body = b"".join(
        encoder.compress(data[start : start + step])
        + (encoder.flush(zlib.Z_FULL_FLUSH) if flush_every else b"")
        for start in range(0, len(data), step)
    )
    return header + body + encoder.flush() + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def skippable_frame(size: int, number: int = 0) -> bytes:
    """A frame that holds no content (RFC 8878 3.1.2)."""
    return (
        struct.pack("<II", 0x184D2A50 + number, size) + b"\x28\xb5\x2f\xfd" * (size // 4) + b"x" * (size % 4)
    )


@st.composite
def plain_bytes(draw: st.DrawFn, largest: int = 200_000) -> bytes:
    """A few stretches of different textures."""
    kinds = st.tuples(
        st.sampled_from(["zeros", "noise", "words"]), st.integers(0, largest), st.integers(0, 1 << 16)
    )
    return b"".join(texture(*stretch) for stretch in draw(st.lists(kinds, max_size=3)))


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The data in up to five pieces, some of which may be empty."""
    cuts = [0, *sorted(draw(st.lists(st.integers(0, len(data)), max_size=4))), len(data)]
    return [data[start:end] for start, end in pairwise(cuts)]


@st.composite
def gzip_blobs(draw: st.DrawFn) -> Stored:
    """Members of every kind, end to end, with or without something after them."""
    data = draw(plain_bytes())
    level = st.integers(0, 9)
    strategy = st.sampled_from([zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE])
    flush = st.sampled_from([0, 0, 5000, 64_000])
    flags = st.sampled_from([0, 2, 4, 8, 16, 30])
    parts = draw(pieces(data))
    options = [draw(st.tuples(level, strategy, flush, flags)) for _ in parts]
    members = [gzip_member(part, *option) for part, option in zip(parts, options, strict=True)]
    garbage = draw(st.sampled_from(GARBAGE))
    return Stored(data, b"".join(members) + garbage, Compression.GZIP, f"{options} {garbage[:3]!r}")


@st.composite
def zstd_blobs(draw: st.DrawFn) -> Stored:
    """Frames of every kind, end to end, skippable ones among them."""
    data = draw(plain_bytes())
    frames, notes = [], []
    for part in draw(pieces(data)):
        level, checksum, sized, window_log = draw(
            st.tuples(
                st.sampled_from([-5, 1, 3, 19]),
                st.booleans(),
                st.booleans(),
                st.sampled_from([0, 10, 17, 27]),
            )
        )
        if draw(st.booleans()):
            frames.append(skippable_frame(draw(st.integers(0, 300_000)), draw(st.integers(0, 15))))
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, window_log=window_log, write_checksum=checksum, write_content_size=sized
        )
        encoder = zstandard.ZstdCompressor(compression_params=parameters)
        if sized:
            frames.append(encoder.compress(part))
        else:
            streaming = encoder.compressobj()
            frames.append(streaming.compress(part) + streaming.flush())
        notes.append((level, checksum, sized, window_log))
    checked = all(checksum for _, checksum, _, _ in notes)
    return Stored(data, b"".join(frames), Compression.ZSTD, str(notes), checked)


@st.composite
def xz_blobs(draw: st.DrawFn) -> Stored:
    """Streams with every check but none, end to end, with and without padding."""
    data = draw(plain_bytes())
    checks = st.sampled_from([lzma.CHECK_CRC32, lzma.CHECK_CRC64, lzma.CHECK_SHA256])
    streams, notes = [], []
    for part in draw(pieces(data)):
        check, preset, padding = draw(st.tuples(checks, st.integers(0, 3), st.sampled_from([0, 0, 4, 512])))
        streams.append(lzma.compress(part, lzma.FORMAT_XZ, check, preset) + bytes(padding))
        notes.append((check, preset, padding))
    return Stored(data, b"".join(streams), Compression.XZ, str(notes))


@st.composite
def bzip2_blobs(draw: st.DrawFn) -> Stored:
    """Streams of every block size, end to end."""
    data = draw(plain_bytes())
    levels = st.integers(1, 9)
    parts = draw(pieces(data))
    stored = b"".join(bz2.compress(part, draw(levels)) for part in parts)
    return Stored(data, stored, Compression.BZIP2, f"{len(parts)} streams")


def blobs() -> st.SearchStrategy[Stored]:
    """Compressed blobs of every kind."""
    return gzip_blobs() | zstd_blobs() | xz_blobs() | bzip2_blobs()
