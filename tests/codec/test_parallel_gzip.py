"""rapidgzip in a process of its own, and the index that it exports."""

import gc
import io
import os
import signal
import struct
import threading
import time
from pathlib import Path

import pytest

from imgfs.blob import Blob, MemoryBlob
from imgfs.codec.parallel_gzip import (
    Parallelism,
    TooDense,
    Unreliable,
    fast,
    frugal,
    gunzip_parallel,
    read_index,
)
from imgfs.codec.seek_table import SeekTableBuilder
from tests.codec.encoders import gzip_member, texture
from tests.codec.failing import FailingBlob

DATA = texture("noise", 9_000_000, 1)
STORED = gzip_member(DATA, 1)
WINDOW = texture("words", 32768, 1)
INDEX = (
    struct.pack("<5sBBQQIII", b"GZIDX", 1, 0, 1000, 9000, 1 << 20, 32768, 3)
    + struct.pack("<QQBB", 10, 0, 0, 0)
    + struct.pack("<QQBB", 100, 4000, 3, 1)
    + struct.pack("<QQBB", 500, 8000, 0, 1)
    + WINDOW
    + bytes(32768)
)


def decoded(blob: Blob, parallelism: Parallelism) -> bytes:
    return b"".join(gunzip_parallel(blob, parallelism, SeekTableBuilder(), []))


def children() -> set[str]:
    """The processes that this one has started and that have not ended."""
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}


@pytest.mark.parametrize("parallelism", [fast(), frugal()])
def test_chunks_are_the_decoded_bytes_and_the_callers_to_keep(parallelism: Parallelism) -> None:
    assert decoded(MemoryBlob(STORED), parallelism) == DATA


def test_what_is_taken_after_the_process_has_ended_is_whole() -> None:
    data = os.urandom(3 << 20)
    taken = []
    for chunk in gunzip_parallel(MemoryBlob(gzip_member(data)), fast(), SeekTableBuilder(), []):
        taken.append(bytes(chunk))
        time.sleep(0.3)  # it needs no more than a few milliseconds for all of it
    assert b"".join(taken) == data


def test_the_blob_stays_open() -> None:
    blob = FailingBlob(STORED, 2 * len(STORED))
    decoded(blob, fast())
    assert not blob.closed


@pytest.mark.parametrize("stored", [b"", b"\x1f\x8b", b"hello, this is not gzip", STORED + b"garbage" * 9])
def test_what_rapidgzip_rejects_is_unreliable(stored: bytes) -> None:
    with pytest.raises(Unreliable):
        decoded(MemoryBlob(stored), fast())


def test_a_failure_to_read_comes_out_as_it_went_in() -> None:
    with pytest.raises(OSError, match="fire"):
        decoded(FailingBlob(STORED, 6_000_000), fast())


def test_closing_it_early_leaves_no_process_thread_or_descriptor() -> None:
    gc.collect()  # what other tests left
    before = threading.active_count(), children(), len(os.listdir("/proc/self/fd"))
    for taken in (1, 3):
        running = gunzip_parallel(MemoryBlob(STORED), fast(), SeekTableBuilder(), [])
        for _ in range(taken):
            next(running)
        running.close()
    assert (threading.active_count(), children(), len(os.listdir("/proc/self/fd"))) == before


def test_a_process_that_dies_is_unreliable() -> None:
    before = children()
    running = gunzip_parallel(MemoryBlob(STORED * 9), fast(), SeekTableBuilder(), [])
    next(running)
    (pid,) = children() - before
    os.kill(int(pid), signal.SIGSEGV)
    with pytest.raises(Unreliable):
        list(running)


def test_data_too_dense_for_a_fast_pass_is_refused_by_that_alone() -> None:
    """It would take a gigabyte."""
    stored = gzip_member(bytes(10 << 20), 1) * 35
    with pytest.raises(TooDense):
        for _ in gunzip_parallel(MemoryBlob(stored), fast(), SeekTableBuilder(), []):
            pass
    running = gunzip_parallel(MemoryBlob(stored), frugal(), SeekTableBuilder(), [])
    assert sum(map(len, running)) == 350 << 20


def test_points_come_out() -> None:
    builder = SeekTableBuilder()
    assert read_index(io.BytesIO(INDEX), builder) == 9000
    table = builder.build(1000, 9000)
    assert len(table) == 3
    assert (table.point_before(4000).bit, table.point_before(4000).window) == (8 * 100 - 3, WINDOW)
    assert (table.point_before(8500).bit, table.point_before(8500).window) == (4000, bytes(32768))


@pytest.mark.parametrize("size", [0, 20, 50, len(INDEX) - 1])
def test_an_index_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="cut off"):
        read_index(io.BytesIO(INDEX[:size]), SeekTableBuilder())


def test_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not an index"):
        read_index(io.BytesIO(b"x" * 100), SeekTableBuilder())
