import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from imgfs.blob import SharedBlob
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
