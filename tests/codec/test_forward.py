"""The decoded view without a seek table."""

import random
from collections.abc import Iterator

import pytest

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression, open_forward
from imgfs.codec.forward import DecodeWindow
from imgfs.errors import Corrupt
from tests.codec.encoders import gzip_member, texture
from tests.codec.failing import FailingBlob

DATA = texture("words", 12_000_000, 5)
STORED = gzip_member(DATA, 1)
NOISE = texture("noise", 3_000_000, 1)


def test_plain_is_read_as_it_is() -> None:
    blob = MemoryBlob(b"plain")
    assert open_forward(blob, Compression.PLAIN) is blob


def test_the_size_is_unknown_until_the_end_was_seen() -> None:
    blob = open_forward(MemoryBlob(STORED), Compression.GZIP)
    assert blob.known_size is None
    blob.pread(10, len(DATA) - 10)
    assert blob.known_size is None
    assert blob.pread(10, len(DATA)) == b""
    assert blob.known_size == blob.size == len(DATA)


def test_asking_for_the_size_decodes_to_the_end() -> None:
    assert open_forward(MemoryBlob(STORED), Compression.GZIP).size == len(DATA)


def test_shuffled_read_ahead_decodes_nothing_twice() -> None:
    stored = FailingBlob(STORED, len(STORED) + 1_000_000)
    blob = open_forward(stored, Compression.GZIP)
    offsets = list(range(0, len(DATA), 131072))
    for start in range(0, len(offsets), 16):
        group = offsets[start : start + 16]
        random.Random(start).shuffle(group)
        for offset in group:
            assert blob.pread(131072, offset) == DATA[offset : offset + 131072]
    assert stored.reads <= len(STORED) // 131072 + 2


def test_a_read_far_behind_starts_again() -> None:
    blob = open_forward(MemoryBlob(STORED), Compression.GZIP)
    assert blob.pread(100, 11_000_000) == DATA[11_000_000:11_000_100]
    assert blob.pread(100, 50) == DATA[50:150]


def test_reading_works_again_once_the_blob_does() -> None:
    stored = FailingBlob(STORED, 1_000_000)
    blob = open_forward(stored, Compression.GZIP)
    for _ in range(2):
        with pytest.raises(OSError, match="fire"):
            blob.pread(10, len(DATA) - 10)
    stored.failing = False
    assert blob.pread(10, len(DATA) - 10) == DATA[-10:]


def chunks(failure: Exception | None = None) -> Iterator[bytes]:
    for start in range(0, len(NOISE), 200_000):
        yield NOISE[start : start + 200_000]
    if failure:
        raise failure


def test_reads_may_go_back_as_far_as_was_promised() -> None:
    window = DecodeWindow(chunks(), 0, 500_000)
    assert window.read(100, 2_000_000) == NOISE[2_000_000:2_000_100]
    assert window.position - window.kept_from < 1_000_000
    back = window.position - 500_000
    assert window.read(1000, back) == NOISE[back : back + 1000]


def test_reads_further_back_are_refused() -> None:
    window = DecodeWindow(chunks(), 0, 500_000)
    window.read(1, 2_000_000)
    with pytest.raises(ValueError, match="gone"):
        window.read(10, window.kept_from - 1)


def test_a_read_longer_than_what_is_kept_is_whole() -> None:
    window = DecodeWindow(chunks(), 7, 100_000)
    assert window.read(2_500_000, 100_007) == NOISE[100_000:2_600_000]


def test_reads_end_where_the_data_does() -> None:
    window = DecodeWindow(chunks(), 0, 100_000)
    assert window.read(1000, len(NOISE) - 10) == NOISE[-10:]
    assert window.read(1000, len(NOISE)) == b""


def test_corrupt_is_raised_again_and_never_looks_like_an_end() -> None:
    window = DecodeWindow(chunks(Corrupt("at the end")), 0, 100_000)
    for _ in range(2):
        with pytest.raises(Corrupt, match="at the end"):
            window.read(1, len(NOISE))
    assert not window.failed


def test_a_failure_to_read_makes_a_window_useless() -> None:
    window = DecodeWindow(chunks(OSError("disk")), 0, 100_000)
    with pytest.raises(OSError, match="disk"):
        window.read(1, len(NOISE))
    assert window.failed
