"""rapidgzip kept on a leash."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from imgfs.blob import Blob, MemoryBlob
from imgfs.codec import Compression
from imgfs.codec.parallel_gzip import Pace, TooDense, Unsure, fast, frugal, gunzip_parallel
from imgfs.codec.seek_table import SeekTableBuilder
from tests.codec.encoders import gzip_member, texture
from tests.codec.failing import FailingBlob

DATA = texture("noise", 9_000_000, 1)
STORED = gzip_member(DATA, 1)


def decoded(blob: Blob, pace: Pace) -> bytes:
    return b"".join(gunzip_parallel(blob, pace, SeekTableBuilder(Compression.GZIP), []))


def children() -> set[str]:
    """The processes that this one has started and that have not ended."""
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}


@pytest.mark.parametrize("pace", [fast(), frugal()])
def test_chunks_are_the_decoded_bytes_and_the_callers_to_keep(pace: Pace) -> None:
    assert decoded(MemoryBlob(STORED), pace) == DATA


def test_what_is_taken_after_the_process_has_ended_is_whole() -> None:
    data = os.urandom(3 << 20)
    taken = []
    for chunk in gunzip_parallel(
        MemoryBlob(gzip_member(data)), fast(), SeekTableBuilder(Compression.GZIP), []
    ):
        taken.append(bytes(chunk))
        time.sleep(0.3)  # it needs no more than a few milliseconds for all of it
    assert b"".join(taken) == data


def test_the_blob_stays_open() -> None:
    blob = FailingBlob(STORED, 2 * len(STORED))
    decoded(blob, fast())
    assert not blob.closed


@pytest.mark.parametrize("stored", [b"", b"\x1f\x8b", b"hello, this is not gzip", STORED + b"garbage" * 9])
def test_what_rapidgzip_stumbles_over_is_unsure(stored: bytes) -> None:
    with pytest.raises(Unsure):
        decoded(MemoryBlob(stored), fast())


def test_a_failure_to_read_comes_out_as_it_went_in() -> None:
    with pytest.raises(OSError, match="fire"):
        decoded(FailingBlob(STORED, 6_000_000), fast())


def test_closing_it_early_leaves_no_process_thread_or_descriptor() -> None:
    before = threading.active_count(), children(), len(os.listdir("/proc/self/fd"))
    for taken in (1, 3):
        running = gunzip_parallel(MemoryBlob(STORED), fast(), SeekTableBuilder(Compression.GZIP), [])
        for _ in range(taken):
            next(running)
        running.close()
    assert (threading.active_count(), children(), len(os.listdir("/proc/self/fd"))) == before


def test_a_process_that_dies_is_unsure() -> None:
    before = children()
    running = gunzip_parallel(MemoryBlob(STORED * 9), fast(), SeekTableBuilder(Compression.GZIP), [])
    next(running)
    (pid,) = children() - before
    os.kill(int(pid), signal.SIGSEGV)
    with pytest.raises(Unsure):
        list(running)


def test_data_too_dense_for_the_fast_pace_is_refused_by_it_alone() -> None:
    """It would take a gigabyte."""
    stored = gzip_member(bytes(10 << 20), 1) * 35
    with pytest.raises(TooDense):
        for _ in gunzip_parallel(MemoryBlob(stored), fast(), SeekTableBuilder(Compression.GZIP), []):
            pass
    running = gunzip_parallel(MemoryBlob(stored), frugal(), SeekTableBuilder(Compression.GZIP), [])
    assert sum(map(len, running)) == 350 << 20
