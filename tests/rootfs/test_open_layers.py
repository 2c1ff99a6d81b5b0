"""Layers that trees have open."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from imgfs.blob import Blob, MemoryBlob
from imgfs.rootfs.open_layers import OpenLayers


class Layers:
    """Opens layers that hold their own number, and counts those that are open."""

    def __init__(self) -> None:
        self.opened = self.now = 0

    def open(self, number: int) -> Blob:
        layers = self

        class Layer(MemoryBlob):
            def close(self) -> None:
                layers.now -= 1

            def try_close(self) -> bool:
                return False

        self.opened += 1
        self.now += 1
        return Layer(b"%d" % number)


def is_open(open_layers: OpenLayers, owner: str, number: int) -> bool:
    share = open_layers.shared(owner, number)
    if share is not None:
        share.close()
    return share is not None


def test_a_layer_is_opened_once_and_stays_open_for_the_next() -> None:
    layers, open_layers = Layers(), OpenLayers()
    for _ in range(3):
        with open_layers.share("a", 7, layers.open) as blob:
            assert blob.pread(9, 0) == b"7"
    assert (layers.opened, layers.now) == (1, 1)
    assert is_open(open_layers, "a", 7)
    assert not is_open(open_layers, "b", 7)
    open_layers.drop("a")
    assert layers.now == 1, "dropping closes nothing, as that may block"
    open_layers.close()
    assert layers.now == 0


def test_no_more_are_kept_open_than_is_good_and_those_not_used_for_longest_go() -> None:
    layers, open_layers = Layers(), OpenLayers(limit=2)
    for number in (0, 1, 0, 2):
        open_layers.share("a", number, layers.open).close()
    assert [is_open(open_layers, "a", number) for number in range(3)] == [True, False, True]
    assert layers.now == 2


def test_who_has_a_layer_reads_on_when_it_is_let_go_of() -> None:
    layers, open_layers = Layers(), OpenLayers(limit=1)
    first = open_layers.share("a", 1, layers.open)
    open_layers.share("a", 2, layers.open).close()
    assert layers.now == 2
    assert first.pread(9, 0) == b"1"
    first.close()
    assert layers.now == 1


def test_one_that_does_not_open_leaves_nothing_behind() -> None:
    def fail(number: int) -> Blob:
        raise OSError("not there")

    open_layers = OpenLayers()
    with pytest.raises(OSError, match="not there"):
        open_layers.share("a", 1, fail)
    assert not is_open(open_layers, "a", 1)


def test_many_threads_leave_nothing_open() -> None:
    layers, open_layers = Layers(), OpenLayers(limit=3)

    def look(seed: int) -> None:
        for step in range(300):
            number = seed * step % 7
            with open_layers.share("a", number, layers.open) as blob:
                assert blob.pread(9, 0) == b"%d" % number

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(look, range(1, 9)))
    assert layers.now == 3
    open_layers.drop("a")
    open_layers.close()
    assert layers.now == 0


def test_the_last_share_is_left_to_be_closed_when_that_may_block() -> None:
    layers, open_layers = Layers(), OpenLayers()
    share = open_layers.share("a", 1, layers.open)
    assert share.try_close()
    share = open_layers.share("a", 1, layers.open)
    open_layers.drop("a")
    open_layers.close()
    assert not share.try_close()
    open_layers.leave(share)
    assert layers.now == 1
    open_layers.share("a", 2, layers.open).close()
    assert layers.now == 1, "that of the next"


def test_a_layer_that_was_lost_is_opened_again_for_the_next_file() -> None:
    class Lost(MemoryBlob):
        def pread(self, size: int, offset: int) -> bytes:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

        try_pread = pread

    opened = iter([Lost(b"0"), Lost(b"0"), MemoryBlob(b"0")])
    open_layers = OpenLayers()
    for read in ("pread", "try_pread"):
        with (
            open_layers.share("a", 0, lambda _: next(opened)) as blob,
            pytest.raises(OSError, match="not conn"),
        ):
            getattr(blob, read)(1, 0)
    with open_layers.share("a", 0, lambda _: next(opened)) as blob:
        assert blob.pread(1, 0) == b"0"
