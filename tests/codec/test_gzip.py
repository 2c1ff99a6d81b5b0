"""A pass over a gzip blob: the decoded bytes and points to enter at, by several decoders."""

import hashlib
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression, open_random
from imgfs.errors import Corrupt
from tests.codec.encoders import gzip_member, texture
from tests.codec.failing import FailingBlob

DATA = b"".join(texture(kind, 8_000_000, 6) for kind in ("words", "noise", "words"))
NOISE = texture("noise", 20_000_000, 8)


@pytest.mark.parametrize(
    "encode",
    [
        partial(gzip_member, DATA),
        partial(gzip_member, DATA, 1),
        partial(gzip_member, NOISE, 0),
        partial(gzip_member, DATA, 1, flush_every=30_000),
        lambda: b"".join(
            (gzip_member(DATA[:9_000_000], 1), gzip_member(b""), gzip_member(DATA[9_000_000:], 1), b"garbage")
        ),
    ],
    ids=["default", "fastest", "stored", "flushed", "members"],
)
def test_gzip_can_be_entered_every_4_mib(encode: Callable[[], bytes]) -> None:
    stored = encode()
    with Compression.GZIP.codec.decode_pass(MemoryBlob(stored)) as running:
        plain = b"".join(running)
        table = running.table
    assert table.largest_interval <= 4 << 20
    assert not table.needs_copy
    blob = open_random(MemoryBlob(stored), Compression.GZIP, table)
    for start in range(len(plain) - 1000, 0, -3_000_000):
        assert blob.pread(1000, start) == plain[start : start + 1000]


@pytest.mark.parametrize("tail", [b"", b"garbage"], ids=["whole", "trailing"])
def test_memory_of_chunks_given_back_is_used_again(tail: bytes) -> None:
    plain, memory = hashlib.sha256(), set()
    with Compression.GZIP.codec.decode_pass(MemoryBlob(gzip_member(DATA) + tail)) as running:
        for chunk in running:
            plain.update(chunk)
            if isinstance(chunk, memoryview):
                memory.add(id(chunk.obj))
            running.give_back(chunk)
    assert plain.digest() == hashlib.sha256(DATA).digest()
    assert len(memory) <= 14, "a third of the chunks; those that the first decoder fills ahead, and few more"


def test_gzip_of_nothing_but_zeros_is_entered_where_its_blocks_allow() -> None:
    size = 200 << 20
    with Compression.GZIP.codec.decode_pass(MemoryBlob(gzip_member(bytes(size)))) as running:
        assert sum(map(len, running)) == size
        assert running.table.largest_interval < 9 << 20


def test_a_pass_left_open_does_not_hurt_the_exit(tmp_path: Path) -> None:
    (tmp_path / "layer.gz").write_bytes(gzip_member(DATA, 1))
    program = (
        "import sys; from imgfs.blob import FileBlob; from imgfs.codec import Compression\n"
        "running = Compression.GZIP.codec.decode_pass(FileBlob(sys.argv[1]))\n"
        "chunks = iter(running); next(chunks)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "layer.gz")], check=True)


def test_a_failure_to_read_comes_out_as_it_went_in() -> None:
    running = Compression.GZIP.codec.decode_pass(FailingBlob(gzip_member(DATA, 1), 5_000_000))
    with pytest.raises(OSError, match="fire"):
        list(running)


@pytest.mark.parametrize("part", [slice(-8, -4), slice(-4, None)], ids=["checksum", "size"])
def test_a_trailer_that_does_not_fit_is_corrupt(part: slice) -> None:
    stored = bytearray(gzip_member(DATA[:100_000]))
    stored[part] = zlib.crc32(stored).to_bytes(4, "little")
    for following in (b"", gzip_member(b"good"), b"garbage"):
        with pytest.raises(Corrupt, match="gzip member at offset 0"):
            list(Compression.GZIP.codec.decode_pass(MemoryBlob(bytes(stored) + following)))


def test_gzip_cut_off_in_its_middle_is_corrupt_after_the_good_bytes_came() -> None:
    stored = gzip_member(DATA, 1)
    got = 0
    with pytest.raises(Corrupt, match=f"cut off at offset {len(stored) // 2}"):
        for chunk in Compression.GZIP.codec.decode_pass(MemoryBlob(stored[: len(stored) // 2])):
            assert chunk == DATA[got : got + len(chunk)]
            got += len(chunk)
    assert got > 5_000_000
