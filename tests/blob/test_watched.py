from concurrent.futures import ThreadPoolExecutor

from imgfs.blob import WatchedBlob
from tests.blob.blobs import Shy


def test_progress_is_how_much_further_a_read_got_than_any_before() -> None:
    told: list[int] = []
    blob = WatchedBlob(Shy(bytes(100)), told.append)
    for size, offset in ((10, 0), (10, 10), (5, 0), (10, 15), (0, 50), (50, 90), (10, 100)):
        assert len(blob.pread(size, offset)) == max(min(size, 100 - offset), 0)
    assert told == [10, 10, 5, 25, 50]
    assert sum(told) == 100


def test_what_it_watches_is_not_changed_by_it() -> None:
    inner = Shy(b"abcd", known=False)
    with WatchedBlob(inner, lambda count: None) as blob:
        assert (blob.known_size, blob.pread(2, 1), blob.size, blob.known_size) == (None, b"bc", 4, 4)
    assert inner.closed == 1


def test_readers_in_many_threads_together_get_to_the_end_once() -> None:
    told: list[int] = []
    blob = WatchedBlob(Shy(bytes(10_000)), told.append)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda offset: blob.pread(100, offset), range(0, 10_000, 100)))
    assert sum(told) == 10_000
    assert min(told) > 0
