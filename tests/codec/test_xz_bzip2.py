"""Streams of xz and bzip2: one after another, and nothing else."""

import bz2
import lzma
import subprocess

import pytest

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression, open_forward, open_random
from imgfs.codec.codec import CHUNK_SIZE
from imgfs.codec.seek_table import START
from imgfs.codec.xz_bzip2 import Bzip2, Xz
from imgfs.errors import Corrupt
from tests.codec.encoders import texture
from tests.codec.reloading import reloaded
from tests.tools import require_tool

DATA = texture("words", 3_000_000, 3)
CASES = [(Xz(), lzma.compress), (Bzip2(), bz2.compress)]


@pytest.mark.parametrize(("codec", "pack"), CASES)
def test_chunks_stay_small_however_much_a_byte_decodes_to(codec: Xz | Bzip2, pack: type) -> None:
    sizes = [len(chunk) for chunk in codec.decode_from(MemoryBlob(pack(bytes(50 << 20))), START)]
    assert sum(sizes) == 50 << 20
    assert max(sizes) <= CHUNK_SIZE


@pytest.mark.parametrize(("codec", "pack"), CASES)
def test_what_follows_the_last_stream_and_is_none_is_corrupt(codec: Xz | Bzip2, pack: type) -> None:
    for garbage in (b"g", b"\0", b"\0" * 7, b"garbage" * 99, b"\0\0\0\0g"):
        with pytest.raises(Corrupt, match="stream at offset"):
            list(codec.decode_from(MemoryBlob(pack(b"good") + garbage), START))


@pytest.mark.parametrize(("codec", "pack"), CASES)
def test_a_stream_that_is_cut_off_is_corrupt(codec: Xz | Bzip2, pack: type) -> None:
    stored = pack(DATA)
    for cut in (1, 5, 20, len(stored) // 2, len(stored) - 1):
        with pytest.raises(Corrupt, match=f"stream at offset 0: cut off at offset {cut}"):
            list(codec.decode_from(MemoryBlob(stored[:cut]), START))


@pytest.mark.parametrize(("codec", "pack"), CASES)
def test_streams_that_are_not_tiny_can_be_entered(codec: Xz | Bzip2, pack: type) -> None:
    """As pixz -t, pbzip2 and concatenation make them."""
    stored = b"".join(pack(DATA[start : start + 200_000]) for start in range(0, len(DATA), 200_000))
    with codec.decode_pass(MemoryBlob(stored)) as running:
        assert b"".join(running) == DATA
        table = reloaded(running.table)
    assert len(table) == 15
    assert not table.needs_copy
    blob = open_random(MemoryBlob(stored), Compression(codec.name), table)
    assert blob.pread(1000, 2_345_678) == DATA[2_345_678:2_346_678]


def test_a_window_that_takes_too_much_memory_is_corrupt_and_said_so() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 256 << 20}]
    stored = lzma.compress(b"small", filters=filters)
    with pytest.raises(Corrupt, match="xz stream at offset 0: Memory usage limit exceeded"):
        list(Xz().decode_from(MemoryBlob(stored), START))


@pytest.mark.parametrize(
    ("compression", "command"),
    [
        (Compression.XZ, ["xz", "-9e", "-T2", "--block-size=300000"]),
        (Compression.XZ, ["xz", "-0", "--check=none", "--x86", "--lzma2"]),
        (Compression.BZIP2, ["bzip2", "-1"]),
    ],
)
def test_what_the_programs_make_is_read(compression: Compression, command: list[str]) -> None:
    stored = subprocess.run(
        [require_tool(command[0]), *command[1:], "-c"], input=DATA, capture_output=True, check=True
    ).stdout
    assert open_forward(MemoryBlob(stored), compression).pread(len(DATA) + 1, 0) == DATA
    with compression.codec.decode_pass(MemoryBlob(stored)) as running:
        assert b"".join(running) == DATA
