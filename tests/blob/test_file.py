import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgfs.blob import FileBlob
from imgfs.errors import StoreError

DATA = random.Random(3).randbytes(300_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(DATA)
    return path


def test_any_range_is_that_of_the_file(path: Path) -> None:
    rng = random.Random(4)
    with FileBlob(path) as blob:
        assert blob.size == blob.known_size == len(DATA)
        for _ in range(300):
            size, offset = rng.randrange(100_000), rng.randrange(len(DATA) + 10)
            assert blob.pread(size, offset) == DATA[offset : offset + size]
            assert blob.try_pread(size, offset) in (DATA[offset : offset + size], None)


def test_what_the_kernel_holds_is_had_in_place(path: Path) -> None:
    with FileBlob(path) as blob:
        assert blob.pread(len(DATA), 0) == DATA
        assert blob.try_pread(1000, 5000) == DATA[5000:6000]
        assert blob.try_pread(1000, len(DATA) - 10) == DATA[-10:]
        assert blob.try_pread(1000, len(DATA)) == b""


def test_what_was_read_in_place_is_not_changed_by_later_reads(path: Path) -> None:
    """The buffer that the kernel fills is used again, in each thread its own."""
    with FileBlob(path) as blob, ThreadPoolExecutor(4) as threads:
        places = [(size, offset) for size in (10, 70_000) for offset in range(0, 200_000, 999)]
        read = list(threads.map(lambda place: blob.try_pread(*place), places))
        assert read == [DATA[offset : offset + size] for size, offset in places]


def test_it_stays_readable_after_the_file_was_removed_or_replaced(path: Path, tmp_path: Path) -> None:
    with FileBlob(path) as blob:
        path.unlink()
        path.write_bytes(b"another")
        assert blob.pread(len(DATA), 0) == DATA


def test_a_file_that_became_shorter_is_an_error_and_one_that_grew_keeps_its_size(path: Path) -> None:
    with FileBlob(path) as blob:
        with path.open("ab") as file:
            file.write(b"more")
        assert blob.pread(10, len(DATA) - 4) == DATA[-4:]
        os.truncate(path, 1000)
        assert blob.pread(1000, 0) == DATA[:1000]
        assert blob.try_pread(2000, 0) is None
        with pytest.raises(StoreError, match=f"{path}: file became shorter"):
            blob.pread(2000, 0)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    open_files = os.listdir("/proc/self/fd")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/null")):
        with pytest.raises(StoreError, match=f"{path}: not a regular file"):
            FileBlob(path)
    with pytest.raises(FileNotFoundError):
        FileBlob(tmp_path / "absent")
    assert os.listdir("/proc/self/fd") == open_files


def test_it_is_closed_once_and_when_nobody_holds_it_any_more(path: Path) -> None:
    open_files = os.listdir("/proc/self/fd")
    blob = FileBlob(path)
    blob.close()
    blob.close()
    FileBlob(path)  # never closed
    assert os.listdir("/proc/self/fd") == open_files


def test_an_empty_file_is_an_empty_blob(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with FileBlob(tmp_path / "empty") as blob:
        assert (blob.size, blob.pread(5, 0), blob.try_pread(5, 0)) == (0, b"", b"")


def test_threads_read_it_at_once(path: Path) -> None:
    with FileBlob(path) as blob, ThreadPoolExecutor(8) as pool:
        pieces = pool.map(lambda offset: blob.pread(1000, offset), range(0, len(DATA), 1000))
        assert b"".join(pieces) == DATA
