"""rapidgzip kept on a leash."""

import pytest

from imgfs.blob import MemoryBlob
from imgfs.codec.parallel_gzip import ParallelGzip, TooDense, Unsure, fast, frugal
from tests.codec.encoders import gzip_member, texture
from tests.codec.failing import FailingBlob

DATA = texture("noise", 9_000_000, 1)
STORED = gzip_member(DATA, 1)


@pytest.mark.parametrize("pace", [fast(), frugal()])
def test_chunks_are_the_decoded_bytes_and_the_callers_to_keep(pace: object) -> None:
    with ParallelGzip(MemoryBlob(STORED), pace) as run:  # type: ignore[arg-type]
        assert b"".join(list(run.chunks())) == DATA


def test_the_blob_stays_open() -> None:
    blob = FailingBlob(STORED, 2 * len(STORED))
    with ParallelGzip(blob, fast()) as run:
        next(run.chunks())
    assert not blob.closed


@pytest.mark.parametrize("stored", [b"", b"\x1f\x8b", b"hello, this is not gzip", STORED + b"garbage" * 9])
def test_what_rapidgzip_stumbles_over_is_unsure(stored: bytes) -> None:
    with pytest.raises(Unsure), ParallelGzip(MemoryBlob(stored), fast()) as run:
        list(run.chunks())


def test_a_failure_to_read_comes_out_as_it_went_in() -> None:
    with pytest.raises(OSError, match="fire"), ParallelGzip(FailingBlob(STORED, 6_000_000), fast()) as run:
        list(run.chunks())


def test_data_too_dense_for_the_fast_pace_is_refused_by_it_alone() -> None:
    """It would take a gigabyte."""
    stored = gzip_member(bytes(10 << 20), 1) * 35
    with pytest.raises(TooDense), ParallelGzip(MemoryBlob(stored), fast()) as run:
        for _ in run.chunks():
            pass
    with ParallelGzip(MemoryBlob(stored), frugal()) as run:
        assert sum(map(len, run.chunks())) == 350 << 20
