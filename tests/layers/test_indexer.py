"""Indexes built once for all who wait, verified, remembered, and made again when they are not right."""

import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from imgfs.blob import Blob, FileBlob, MemoryBlob
from imgfs.cache import Cache
from imgfs.digest import DiffID, Digest
from imgfs.errors import Corrupt, ImgfsError
from imgfs.layers import BlobLayer, Indexer
from imgfs.layers.index_file import LayerIndex
from tests.codec.failing import FailingBlob
from tests.images import layer_tar
from tests.indexing import indexing
from tests.layers.stored_layers import ENCODERS, big_tar, index_of, layer_of

DATA = big_tar(3_000_000)
STORED = ENCODERS["gzip"](DATA)


class Opened:
    """Opens blobs of `stored`, and counts how often all of it is read."""

    def __init__(self, stored: bytes) -> None:
        self.stored = stored
        self.read = 0

    def __call__(self) -> Blob:
        return _Counted(self)

    @property
    def passes(self) -> int:
        return round(self.read / len(self.stored) / 2)  # once to decode it and once to hash it


class _Counted(MemoryBlob):
    def __init__(self, opened: Opened) -> None:
        super().__init__(opened.stored)
        self._opened = opened

    def pread(self, size: int, offset: int) -> bytes:
        data = super().pread(size, offset)
        self._opened.read += len(data)
        return data


def layer_in(indexer: Indexer, open_blob: Callable[[], Blob] | None = None) -> BlobLayer:
    return layer_of(indexer, STORED, DATA, open_blob)


def find(layer: BlobLayer) -> LayerIndex | None:
    """The index, if the layer was indexed before."""
    with layer.content() as content:
        return content.index


def index_file(folder: Path) -> Path:
    (path,) = (folder / "cache").rglob("*.index")
    return path


def test_an_index_is_built_once_and_found_by_the_next_process(tmp_path: Path) -> None:
    opened = Opened(STORED)
    for _ in range(2):
        with indexing(tmp_path) as indexer:
            layer = layer_in(indexer, opened)
            first = index_of(layer)
            assert first.header.size == len(DATA)
            assert index_of(layer) is first
            assert find(layer) is first
    assert opened.passes == 1


def test_two_readers_that_need_the_same_index_wait_for_one_build(tmp_path: Path) -> None:
    opened = Opened(STORED)
    with indexing(tmp_path) as indexer, ThreadPoolExecutor(8) as pool:
        layer = layer_in(indexer, opened)
        indexes = list(pool.map(lambda _: index_of(layer), range(8)))
    assert opened.passes == 1
    assert len(set(map(id, indexes))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diff_id": DiffID.of(b"x")}, "it decodes to sha256:"),
        ({"stored_digest": Digest.of(b"x")}, "its stored bytes are sha256:"),
        ({"recorded_size": 5}, "where 5 are recorded"),
    ],
)
@pytest.mark.parametrize("encoder", ["gzip", "zstd frames", "plain"])
def test_what_is_not_what_is_recorded_is_corrupt_and_not_decoded_again(
    tmp_path: Path, change: dict[str, object], message: str, encoder: str
) -> None:
    stored = ENCODERS[encoder](DATA)
    opened = Opened(stored)
    with indexing(tmp_path) as indexer:
        hurt = replace(layer_of(indexer, stored, DATA, opened), **change)  # type: ignore[arg-type]
        with pytest.raises(Corrupt, match=f"{message}|its stored bytes are"):
            index_of(hurt)
        read = opened.read
        for _ in range(3):
            with pytest.raises(Corrupt, match=f"{message}|its stored bytes are"):
                index_of(hurt)
        assert opened.read - read < 200_000
    assert not list((tmp_path / "cache").rglob("*.*"))


@pytest.mark.parametrize(
    "change",
    [{"diff_id": DiffID.of(b"x")}, {"recorded_size": 5}, {"stored_digest": None, "recorded_size": 5}],
)
@pytest.mark.parametrize("liar_first", [True, False])
def test_an_image_that_lies_of_the_same_bytes_harms_no_other(
    tmp_path: Path, change: dict[str, object], liar_first: bool
) -> None:
    with indexing(tmp_path) as indexer:
        layer = layer_in(indexer)
        liar = replace(layer, **change)  # type: ignore[arg-type]

        def expose() -> None:
            with pytest.raises(Corrupt):
                index_of(liar)
            with pytest.raises(Corrupt):
                find(liar)

        if liar_first:
            expose()
        assert index_of(layer).header.diff_id == DiffID.of(DATA)
        kept = index_file(tmp_path).read_bytes()
        expose()
        assert find(layer) is not None
    assert index_file(tmp_path).read_bytes() == kept


def test_a_copy_that_cannot_be_kept_costs_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened(STORED)
    with indexing(tmp_path) as indexer:
        layer = layer_in(indexer, opened)
        index = index_of(layer, with_copy=False)
        monkeypatch.setattr(Cache, "begin", lambda cache: None)
        with layer.content() as content:
            assert content.copying(index) is None
    assert opened.passes == 1


def test_a_failure_to_read_is_tried_again(tmp_path: Path) -> None:
    blob = FailingBlob(STORED, 1000)
    with indexing(tmp_path) as indexer:
        layer = layer_in(indexer, lambda: blob)
        with pytest.raises(ImgfsError, match="fire"):
            index_of(layer)
        assert blob.closed
        blob.failing = False
        assert index_of(layer).header.size == len(DATA)


def test_a_blob_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "layer"
    with indexing(tmp_path) as indexer:
        layer = layer_in(indexer, lambda: FileBlob(path))
        with pytest.raises(FileNotFoundError):
            index_of(layer)
        path.write_bytes(STORED)
        assert index_of(layer)


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "version", "foreign"])
def test_an_index_that_is_not_right_is_made_again(tmp_path: Path, damage: str) -> None:
    with indexing(tmp_path) as indexer:
        expected = index_of(layer_in(indexer)).header
    path = index_file(tmp_path)
    data = bytearray(path.read_bytes())
    match damage:
        case "bit":
            data[200] ^= 1
        case "cut":
            del data[len(data) // 2 :]
        case "empty":
            data.clear()
        case "version":
            data[:40] = re.sub(rb"version \d+", b"version 0", bytes(data[:40]))
        case "foreign":
            other = layer_tar({"other": b"x"})
            with indexing(tmp_path / "other") as indexer:
                index_of(layer_of(indexer, ENCODERS["gzip"](other), other))
            data = bytearray(index_file(tmp_path / "other").read_bytes())
    path.write_bytes(data)
    opened = Opened(STORED)
    with indexing(tmp_path) as indexer:
        assert index_of(layer_in(indexer, opened)).header == expected
    assert opened.passes == 1
    with indexing(tmp_path) as indexer:
        assert find(layer_in(indexer)) is not None


def test_members_that_are_damaged_are_found_again(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer:
        names = [member.name for member in layer_in(indexer).members()]
    path = index_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1  # the last section, which is not read before it is asked for
    path.write_bytes(data)
    opened = Opened(STORED)
    with indexing(tmp_path) as indexer:
        layer = layer_in(indexer, opened)
        assert find(layer) is not None
        assert [member.name for member in layer.members()] == names
        assert opened.passes == 1


def test_an_index_that_was_evicted_is_still_good_where_it_is_in_memory(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer:
        opened = Opened(STORED)
        layer = layer_in(indexer, opened)
        index = index_of(layer)
        Cache(str(tmp_path / "cache"), 0).prune()
        assert find(layer) is index
        assert len(layer.members()) == 12
        assert opened.passes == 2, "the members alone are found again"


def test_no_file_of_the_cache_stays_open(tmp_path: Path) -> None:
    """What is dropped in the event loop must have none to close."""
    with indexing(tmp_path) as first:
        index_of(layer_in(first))
    with indexing(tmp_path) as indexer:
        index = find(layer_in(indexer))
        assert index is not None
        assert len(index.members()) == 12
        opened = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
        assert os.path.realpath(index_file(tmp_path)) not in opened


@pytest.mark.parametrize("limit", [0, 4096])
def test_a_cache_that_keeps_nothing_is_no_obstacle(tmp_path: Path, limit: int) -> None:
    opened = Opened(STORED)
    with indexing(tmp_path, limit) as indexer:
        layer = layer_in(indexer, opened)
        assert index_of(layer).header.size == len(DATA)
        assert len(layer.members()) == 12
    assert opened.passes == 1


def test_indexes_of_layers_that_are_not_open_take_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgfs.layers.index_store._LOADED_SIZE", 500)
    with indexing(tmp_path) as indexer:
        layers = []
        for number in range(30):
            data = layer_tar({f"{number}": os.urandom(200_000)})
            layers.append(layer_of(indexer, ENCODERS["gzip"](data), data))
            index_of(layers[-1])
        loaded = [layer for layer in layers if indexer.indexes._loaded.get(layer.key())]
        assert 0 < len(loaded) < 30
        assert loaded[-1] is layers[-1]
        assert all(map(find, layers))


def test_what_nothing_is_recorded_of_is_learnt(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer:
        header = indexer.learn(MemoryBlob(STORED), "layer")
        assert (header.diff_id, header.stored_digest) == (DiffID.of(DATA), Digest.of(STORED))
        assert find(layer_in(indexer)) is not None
        with pytest.raises(Corrupt):
            indexer.learn(MemoryBlob(STORED[:1000]), "layer")


def test_closing_stops_a_pass_and_leaves_no_threads(tmp_path: Path) -> None:
    class Endless(FailingBlob):
        def pread(self, size: int, offset: int) -> bytes:
            started.set()
            threading.Event().wait(0.01)
            return super().pread(size, offset)

    started = threading.Event()
    before = threading.active_count()
    zeros = ENCODERS["zstd frames"](bytes(100_000) + os.urandom(30_000_000))
    slow = Endless(zeros, 1 << 40)
    with indexing(tmp_path) as indexer:
        with layer_of(indexer, zeros, b"", lambda: slow).content() as content:
            first = content.follow()
        with layer_in(indexer).content() as content:
            content.follow()
            other = content.build
        started.wait(10)
    for stopped in (first, other):
        assert stopped is not None
        with pytest.raises(Corrupt, match="stopped"):
            stopped.wait()
    assert threading.active_count() == before
    assert not list((tmp_path / "cache").rglob("*.*")), "nothing half made is left"


def test_closing_lets_a_pass_end_that_has_decoded_everything(tmp_path: Path) -> None:
    """A layer that was read to its end is indexed, however soon the file system is unmounted."""

    class SlowEnd(MemoryBlob):
        def pread(self, size: int, offset: int) -> bytes:
            if threading.current_thread().name == "imgfs hashing" and offset + size >= self.size:
                decoded.wait(10)
            return super().pread(size, offset)

    decoded = threading.Event()
    with indexing(tmp_path) as indexer:
        with layer_in(indexer, lambda: SlowEnd(STORED)).content() as content:
            build = content.follow()
        assert build is not None
        while build.position < len(DATA):
            threading.Event().wait(0.01)
        closing = threading.Thread(target=indexer.close)
        closing.start()
        decoded.set()
        closing.join()
    with indexing(tmp_path) as indexer:
        assert find(layer_in(indexer)) is not None


def test_what_was_closed_can_be_read_but_not_built(tmp_path: Path) -> None:
    indexer = Indexer(Cache(str(tmp_path / "cache"), 1 << 20))
    index_of(layer_in(indexer))
    indexer.close()
    assert find(layer_in(indexer)) is not None


def test_a_lack_of_memory_for_the_index_names_the_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Cache, "keep", keep)
    with indexing(tmp_path) as indexer:
        with pytest.raises(Corrupt, match=f"^not enough memory to index layer {DiffID.of(DATA)}"):
            index_of(layer_in(indexer))
