"""The decoded view without a seek table."""

import random

import pytest

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression, open_forward
from tests.codec.encoders import gzip_member, texture
from tests.codec.failing import FailingBlob

DATA = texture("words", 12_000_000, 5)
STORED = gzip_member(DATA, 1)


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
