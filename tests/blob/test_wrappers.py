import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from imgfs.blob import MemoryBlob, PaddedBlob, SharedBlob, WatchedBlob
from imgfs.errors import FileChanged, StoreError
from tests.blob.blobs import Shy


def test_a_share_is_the_blob_itself() -> None:
    with SharedBlob(Shy(b"abcd")).share() as share:
        assert (share.size, share.known_size) == (4, 4)
        assert (share.pread(2, 1), share.try_pread(9, 2)) == (b"bc", b"cd")
    with SharedBlob(Shy(b"abcd", known=False, ready=False)).share() as share:
        assert (share.known_size, share.try_pread(1, 0)) == (None, None)


def test_the_blob_is_closed_once_by_the_last_of_its_users() -> None:
    blob = Shy(b"abcd")
    shared = SharedBlob(blob)
    first, second = shared.share(), shared.share()
    shared.close()
    first.close()
    first.close()
    assert blob.closed == 0
    assert second.pread(4, 0) == b"abcd"
    second.close()
    assert blob.closed == 1


def test_nobody_shares_what_is_closed() -> None:
    shared = SharedBlob(Shy(b""))
    shared.close()
    with pytest.raises(ValueError, match="closed"):
        shared.share()


def test_users_in_many_threads_close_it_once() -> None:
    blob = Shy(b"abcd")
    shared = SharedBlob(blob)
    start = threading.Barrier(8)

    def use(_: int) -> None:
        start.wait(10)
        for _ in range(200):
            with shared.share() as share:
                assert share.pread(4, 0) == b"abcd"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))
    assert blob.closed == 0
    shared.close()
    assert blob.closed == 1


def test_a_share_that_is_not_the_last_is_closed_without_blocking() -> None:
    blob = Shy(b"abcd")
    shared = SharedBlob(blob)
    first, second = shared.share(), shared.share()
    shared.close()
    assert first.try_close()
    assert first.try_close(), "again does nothing"
    assert not second.try_close()
    assert second.pread(4, 0) == b"abcd"
    second.close()
    assert blob.closed == 1


def test_progress_is_how_much_further_a_read_got_than_any_before() -> None:
    reported: list[int] = []
    blob = WatchedBlob(Shy(bytes(100)), reported.append)
    assert blob.try_pread(10, 0) is None, "reporting may block"
    for size, offset in ((10, 0), (10, 10), (5, 0), (10, 15), (0, 50), (50, 90), (10, 100)):
        assert len(blob.pread(size, offset)) == max(min(size, 100 - offset), 0)
    assert reported == [10, 10, 5, 25, 50]
    assert sum(reported) == 100


def test_what_it_watches_is_not_changed_by_it() -> None:
    inner = Shy(b"abcd", known=False)
    with WatchedBlob(inner, lambda count: None) as blob:
        assert (blob.known_size, blob.pread(2, 1), blob.size, blob.known_size) == (None, b"bc", 4, 4)
    assert inner.closed == 1


def test_readers_in_many_threads_together_get_to_the_end_once() -> None:
    reported: list[int] = []
    blob = WatchedBlob(Shy(bytes(10_000)), reported.append)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda offset: blob.pread(100, offset), range(0, 10_000, 100)))
    assert sum(reported) == 10_000
    assert min(reported) > 0


class _Shrunk(MemoryBlob):
    """A file of which less is there than it had; with `error`, that is raised instead."""

    error: Exception | None = None

    def pread(self, size: int, offset: int) -> bytes:
        raise self.error or FileChanged("x has changed", super().pread(size, offset))

    try_pread = pread


def test_what_a_file_has_lost_is_zeros_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    blob = _Shrunk(b"abc")
    with PaddedBlob(blob) as padded:
        assert padded.pread(5, 1) == b"bc\0\0\0"
        assert padded.try_pread(5, 1) is None
        assert padded.pread(2, 5) == b"\0\0"
        assert caplog.messages == ["x has changed; zeros are read for what is missing"]
        blob.error = StoreError("cannot be read")
        with pytest.raises(StoreError, match="cannot be read"):
            padded.pread(1, 0)
