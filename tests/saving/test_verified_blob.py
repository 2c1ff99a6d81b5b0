"""Blobs that are compared with their digests as they are read."""

import os
import random

import pytest

from imgfs.blob import Blob, MemoryBlob, blob_chunks
from imgfs.digest import Digest
from imgfs.errors import Corrupt
from imgfs.saving.verified_blob import VerifiedBlob

DATA = os.urandom(100_000)
WRONG = DATA[:70_000] + bytes([DATA[70_000] ^ 1]) + DATA[70_001:]
NAME = "blob x"


def verified(data: bytes) -> Blob:
    return VerifiedBlob(MemoryBlob(data), Digest.of(DATA), NAME)


def test_the_read_that_completes_a_wrong_blob_fails_and_all_after_it() -> None:
    with verified(WRONG) as blob:
        chunks = blob_chunks(blob, 30_000)
        assert b"".join(next(chunks) for _ in range(3)) == WRONG[:90_000]
        with pytest.raises(Corrupt, match="blob x: failed to verify, its 100000 bytes are sha256:"):
            next(chunks)
        with pytest.raises(Corrupt):
            blob.pread(10, 0)


@pytest.mark.parametrize("data", [DATA, WRONG], ids=["right", "wrong"])
def test_reads_may_come_out_of_order_and_overlap(data: bytes) -> None:
    offsets = list(range(0, len(data), 7000))
    for seed in range(20):
        random.Random(seed).shuffle(offsets)
        failed = 0
        with verified(data) as blob:
            for offset in offsets:
                try:
                    assert blob.pread(7100, offset) == data[offset : offset + 7100]
                except Corrupt:
                    failed += 1
        assert (failed == 1) is (data is WRONG)


def test_a_reader_of_some_bytes_gets_them() -> None:
    with verified(WRONG) as blob:
        for offset in (99_000, 0, 50_000, 99_990):
            assert blob.pread(100, offset) == WRONG[offset : offset + 100]


def test_what_is_right_is_read_in_place_from_then_on_and_nothing_before() -> None:
    with verified(DATA) as blob:
        assert blob.try_pread(10, 0) is None
        assert b"".join(blob_chunks(blob)) == DATA
        assert blob.try_pread(10, 5) == DATA[5:15]


def test_an_empty_blob_is_compared_too() -> None:
    with VerifiedBlob(MemoryBlob(b""), Digest.of(b""), NAME) as blob:
        assert blob.pread(10, 0) == b""
    with verified(b"") as blob, pytest.raises(Corrupt):
        blob.pread(10, 0)
