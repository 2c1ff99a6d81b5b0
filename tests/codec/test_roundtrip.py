"""For blobs of any encoder, every way of reading returns the plain bytes, or Corrupt if they were damaged."""

import random
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob import Blob, MemoryBlob
from imgfs.codec import Compression, SeekTable, detect, open_forward, open_random
from imgfs.errors import Corrupt
from tests.codec.encoders import GARBAGE, Stored, blobs, gzip_member, texture
from tests.codec.reloading import reloaded
from tests.tools import require_tool


def read_at_random(blob: Blob, plain: bytes, seed: int, reads: int = 12) -> None:
    """Read here and there, and compare."""
    dice = random.Random(seed)
    for _ in range(reads):
        offset = dice.randrange(len(plain) + 10)
        size = dice.choice([0, 1, 512, 4096, 131072, len(plain) + 1])
        assert blob.pread(size, offset) == plain[offset : offset + size]


def pass_over(stored: bytes, compression: Compression) -> tuple[bytes, SeekTable]:
    with compression.codec.decode_pass(MemoryBlob(stored)) as running:
        plain = b"".join(running)
        return plain, running.table


@given(blobs())
@settings(max_examples=120, deadline=None)
def test_every_reader_gives_the_plain_bytes(case: Stored) -> None:
    blob = MemoryBlob(case.stored)
    assert not case.stored or detect(blob) is case.compression
    forward = open_forward(blob, case.compression)
    read_at_random(forward, case.plain, 1)
    assert forward.size == forward.known_size == len(case.plain)
    plain, table = pass_over(case.stored, case.compression)
    assert plain == case.plain
    assert table.size == len(plain)
    reader = open_random(blob, case.compression, reloaded(table))
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(read_at_random, reader, plain, seed) for seed in range(3)]:
            done.result()


@given(blobs().filter(lambda case: len(case.stored) > 1), st.data())
@settings(max_examples=120, deadline=None)
def test_a_cut_blob_is_corrupt_or_a_whole_prefix_of_it(case: Stored, data: st.DataObject) -> None:
    """Where a member or frame ends nothing shows that more should follow."""
    cut = data.draw(st.integers(1, len(case.stored) - 1))
    results: list[bytes | None] = []
    for read in (read_forward, lambda stored, kind: pass_over(stored, kind)[0]):
        try:
            results.append(read(case.stored[:cut], case.compression))
        except Corrupt:
            results.append(None)
    assert results[0] == results[1]
    if results[0] is not None:
        assert results[0] == expected_output(case.stored[:cut], case.compression)
        assert case.plain.startswith(results[0])


@given(blobs().filter(lambda case: case.checked and len(case.stored) > 0), st.data())
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_is_corrupt_or_changes_nothing_a_decoder_could_notice(
    case: Stored, data: st.DataObject
) -> None:
    """Frames without a checksum are left to the layer's digest."""
    position = data.draw(st.integers(0, 8 * len(case.stored) - 1))
    hurt = bytearray(case.stored)
    hurt[position // 8] ^= 1 << position % 8
    stored = bytes(hurt)
    results: list[bytes | None] = []
    for read in (read_forward, lambda stored, kind: pass_over(stored, kind)[0]):
        try:
            results.append(read(stored, case.compression))
        except Corrupt:
            results.append(None)
    assert results[0] == results[1]
    if results[0] is not None:
        assert results[0] == expected_output(stored, case.compression)


def read_forward(stored: bytes, compression: Compression) -> bytes:
    blob = open_forward(MemoryBlob(stored), compression)
    return blob.pread(1 << 30, 0)


def expected_output(stored: bytes, compression: Compression) -> bytes:
    """What another decoder makes of it: zlib, member by member, or the program of that name."""
    if compression is not Compression.GZIP:
        options = ["-dcq", "--long=27"] if compression is Compression.ZSTD else ["-dcq"]
        done = subprocess.run([require_tool(compression), *options], input=stored, capture_output=True)
        assert done.returncode == 0
        return done.stdout
    output = b""
    while stored.startswith(b"\x1f\x8b"):
        stored = stored[:3] + bytes([stored[3] & 0x1F]) + stored[4:]  # reserved flags, which zlib refuses
        decoder = zlib.decompressobj(31)
        output += decoder.decompress(stored)
        assert decoder.eof
        stored = decoder.unused_data
    return output


@pytest.mark.parametrize("garbage", GARBAGE)
def test_output_is_that_of_gzip(garbage: bytes) -> None:
    """Also with something after the last member, which gzip warns about and ignores."""
    data = texture("words", 3_000_000, 1)
    stored = gzip_member(data[:99]) + gzip_member(b"") + gzip_member(data[99:], 1) + garbage
    done = subprocess.run([require_tool("gzip"), "-dc"], input=stored, capture_output=True)
    assert done.returncode in (0, 2)
    plain, table = pass_over(stored, Compression.GZIP)
    assert plain == done.stdout == read_forward(stored, Compression.GZIP)
    read_at_random(open_random(MemoryBlob(stored), Compression.GZIP, table), plain, 2)


@pytest.mark.parametrize(
    "options", [["-i", "-p", "2", "-b", "128"], ["-p", "2"], ["-p", "1", "-0"], ["-11", "-p1"]]
)
def test_pigz_is_read(options: list[str]) -> None:
    size = 300_000 if "-11" in options else 12_000_000
    data = texture("words", size // 3, 2) + texture("noise", size // 3, 2) + texture("zeros", size // 3, 2)
    stored = subprocess.run(
        [require_tool("pigz"), *options], input=data, capture_output=True, check=True
    ).stdout
    plain, table = pass_over(stored, Compression.GZIP)
    assert plain == data == read_forward(stored, Compression.GZIP)
    read_at_random(open_random(MemoryBlob(stored), Compression.GZIP, table), plain, 2, reads=40)


def test_blocks_of_64_kib_in_members_of_their_own_are_read() -> None:
    """As bgzip writes them, with its extra field and its empty last member."""
    data = texture("words", 6_000_000, 3)
    members = [gzip_member(data[start : start + 65280], 1, flags=4) for start in range(0, len(data), 65280)]
    stored = b"".join(members) + gzip_member(b"", flags=4)
    plain, table = pass_over(stored, Compression.GZIP)
    assert plain == data
    assert table.largest_interval <= 4 << 20
    read_at_random(open_random(MemoryBlob(stored), Compression.GZIP, table), data, 3, 40)
