"""Readers of a layer whose pass is still running."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgfs.blob import Blob, MemoryBlob
from imgfs.errors import Corrupt
from imgfs.layers import BlobLayer
from imgfs.layers.index_build import DecodedCopy
from imgfs.layers.index_file import LayerKey
from imgfs.layers.index_store import IndexStore
from tests.indexing import indexing
from tests.layers.stored_layers import ENCODERS, big_tar, layer_of

DATA = big_tar(12_000_000)


class Gate(MemoryBlob):
    """Stored bytes of which the decoder gets those before `limit`, and the others once the gate opens."""

    def __init__(self, data: bytes, limit: int) -> None:
        super().__init__(data)
        self.opened = threading.Event()
        self.limit = limit
        self.read = 0
        self.waiting = False

    def pread(self, size: int, offset: int) -> bytes:
        if offset + size > self.limit:
            self.waiting = True
            assert self.opened.wait(20)
        data = super().pread(size, offset)
        self.read += len(data)
        return data


@contextmanager
def gated(folder: Path, encoder: str, limit: int = 1 << 30) -> Iterator[tuple[BlobLayer, Gate]]:
    """A layer half of which can be read, until the gate opens."""
    stored = ENCODERS[encoder](DATA)
    gate = Gate(stored, len(stored) // 2)
    with indexing(folder, limit) as indexer:
        try:
            yield layer_of(indexer, stored, DATA, lambda: gate), gate
        finally:
            gate.opened.set()


@pytest.mark.parametrize("encoder", ["zstd frames", "zstd frame"])
def test_what_is_decoded_is_served_while_the_pass_goes_on(tmp_path: Path, encoder: str) -> None:
    with gated(tmp_path, encoder) as (layer, gate), layer.open() as tar:
        assert tar.known_size is None
        assert tar.pread(1_000_000, 0) == DATA[:1_000_000]
        assert tar.pread(5000, 2_000_000) == DATA[2_000_000:2_005_000]
        assert tar.ending_before(1_000_000) is None
        assert tar.known_size is None
        gate.opened.set()
        assert tar.pread(1 << 20, len(DATA) - 100) == DATA[-100:]
        assert tar.known_size == len(DATA)
        ending = tar.ending_before(len(DATA))
        assert ending is not None
        assert DATA[ending:] == bytes(len(DATA) - ending)


@pytest.mark.parametrize("encoder", [name for name in ENCODERS if name != "plain"])
def test_reading_it_once_in_order_decodes_it_once_and_leaves_the_index_behind(
    tmp_path: Path, encoder: str
) -> None:
    stored = ENCODERS[encoder](DATA)
    opened: list[Gate] = []

    def open_blob() -> Blob:
        opened.append(Gate(stored, 1 << 40))
        return opened[-1]

    with indexing(tmp_path) as indexer:
        with layer_of(indexer, stored, DATA, open_blob).open() as tar:
            position = 0
            while piece := tar.pread(131_072, position):
                assert piece == DATA[position : position + len(piece)]
                position += len(piece)
    assert position == len(DATA)
    # it is hashed too, and a little is read to tell the compression and where gzip ends; rapidgzip gives up on garbage
    times = 5 if "garbage" in encoder else 2.5
    assert sum(gate.read for gate in opened) < times * len(stored) + 200_000
    assert len(list((tmp_path / "cache").rglob("*.index"))) == 1


@pytest.mark.parametrize("encoder", ["gzip", "zstd frame"])
def test_a_reader_behind_a_pass_that_ends_decodes_nothing_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: str
) -> None:
    decoded, has_read = threading.Event(), threading.Event()
    keep_copy = IndexStore.keep_copy

    def keep_copy_late(store: IndexStore, key: LayerKey, copy: DecodedCopy) -> None:
        decoded.set()
        assert has_read.wait(20)
        keep_copy(store, key, copy)

    monkeypatch.setattr(IndexStore, "keep_copy", keep_copy_late)
    stored = ENCODERS[encoder](DATA)
    blob = Gate(stored, 1 << 40)
    with indexing(tmp_path) as indexer, layer_of(indexer, stored, DATA, lambda: blob).open() as tar:
        assert tar.pread(10, 0) == DATA[:10]
        assert decoded.wait(20)
        read = blob.read
        for offset in range(0, len(DATA), 1_000_000):
            assert tar.pread(1_000_000, offset) == DATA[offset : offset + 1_000_000]
        assert blob.read == read
        has_read.set()


def test_many_readers_follow_one_pass(tmp_path: Path) -> None:
    with gated(tmp_path, "zstd frames") as (layer, gate):
        wrong: list[int] = []

        def read(start: int) -> None:
            with layer.open() as tar:
                for offset in range(start, len(DATA), 900_000):
                    if tar.pread(5000, offset) != DATA[offset : offset + 5000]:
                        wrong.append(offset)

        threads = [threading.Thread(target=read, args=(number * 10_000,)) for number in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        gate.opened.set()
        for thread in threads:
            thread.join()
        assert not wrong


@pytest.mark.parametrize("encoder", ["gzip", "zstd frames", "zstd frame"])
@pytest.mark.parametrize("limit", [0, 4096, 3 << 20])
def test_a_cache_too_small_for_a_copy_means_slower_not_broken(
    tmp_path: Path, encoder: str, limit: int
) -> None:
    stored = ENCODERS[encoder](DATA)
    with indexing(tmp_path, limit) as indexer:
        with layer_of(indexer, stored, DATA, lambda: MemoryBlob(stored)).open() as tar:
            for offset in (0, 1_000_000, 11_000_000, 5_000_000, len(DATA) - 10):
                assert tar.pread(70_000, offset) == DATA[offset : offset + 70_000]
            assert tar.ending_before(len(DATA)) is not None
            assert tar.size == len(DATA)
            for offset in (0, 11_000_000, 5_000_000, len(DATA) - 10):
                assert tar.pread(70_000, offset) == DATA[offset : offset + 70_000]
    used = sum(path.stat().st_blocks * 512 for path in (tmp_path / "cache").rglob("*.*"))
    assert used <= limit


def test_a_reader_does_not_wait_for_the_pass_over_another_layer(tmp_path: Path) -> None:
    with gated(tmp_path, "zstd frames") as (layer, gate), layer.open() as first:
        assert first.pread(10, 0) == DATA[:10]  # and its pass is stuck at the gate now
        other = ENCODERS["gzip"](DATA)
        with layer_of(layer.indexer, other, DATA, lambda: MemoryBlob(other)).open() as second:
            assert second.pread(1_000_000, 0) == DATA[:1_000_000]
            assert second.ending_before(1_000_000) is None
            assert second.pread(100, 2_000_000) == DATA[2_000_000:2_000_100]
            gate.opened.set()
            assert second.size == len(DATA)


def test_a_failure_comes_after_the_good_bytes(tmp_path: Path) -> None:
    stored = bytearray(ENCODERS["zstd frames"](DATA))
    stored[-1000] ^= 1
    with indexing(tmp_path) as indexer:
        with layer_of(indexer, b"", DATA, lambda: MemoryBlob(bytes(stored))).open() as tar:
            assert tar.pread(1_000_000, 0) == DATA[:1_000_000]
            for _ in range(2):
                with pytest.raises(Corrupt):
                    tar.pread(1 << 20, len(DATA) - 5000)
            with pytest.raises(Corrupt):
                _ = tar.size
    assert not list((tmp_path / "cache").rglob("*.*"))


def test_a_copy_that_is_truncated_is_not_read(tmp_path: Path) -> None:
    with gated(tmp_path, "zstd frames") as (layer, gate), layer.open() as tar:
        assert tar.pread(1000, 0) == DATA[:1000]
        (partial,) = (tmp_path / "cache").rglob("partial-*")
        size = -1
        # until all that the gate let through is there
        while not gate.waiting or partial.stat().st_size != size:
            size = partial.stat().st_size
            time.sleep(0.2)
        os.truncate(partial, 0)
        gate.opened.set()
        for offset in (0, 2_000_000, len(DATA) - 2000):
            assert tar.pread(1000, offset) == DATA[offset : offset + 1000]
