"""Indexes built once for all who wait, verified, remembered, and made anew when they are not right."""

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
from imgfs.layers import Indexer
from imgfs.layers.indexer import Subject
from tests.codec.failing import FailingBlob
from tests.images import layer_tar
from tests.indexing import indexing
from tests.layers.subjects import ENCODERS, big_tar, subject_of

DATA = big_tar(3_000_000)
STORED = ENCODERS["gzip"](DATA)


class Opened:
    """Opens blobs of `stored`, and counts how often."""

    def __init__(self, stored: bytes) -> None:
        self.stored = stored
        self.times = 0

    def __call__(self) -> Blob:
        self.times += 1
        return MemoryBlob(self.stored)


def subject(open_blob: Callable[[], Blob] | None = None) -> Subject:
    return replace(
        subject_of(STORED, DATA, lambda: MemoryBlob(STORED)), open_blob=open_blob or Opened(STORED)
    )


def index_file(folder: Path) -> Path:
    (path,) = (folder / "cache").rglob("*.index")
    return path


def test_an_index_is_built_once_and_found_by_the_next_process(tmp_path: Path) -> None:
    opened = Opened(STORED)
    for _ in range(2):
        with indexing(tmp_path) as indexer:
            first = indexer.index(subject(opened))
            assert first.facts.size == len(DATA)
            assert indexer.index(subject(opened)) is first
            assert indexer.find(subject(opened)) is first
    assert opened.times == 1


def test_two_readers_that_need_the_same_index_wait_for_one_build(tmp_path: Path) -> None:
    opened = Opened(STORED)
    with indexing(tmp_path) as indexer, ThreadPoolExecutor(8) as pool:
        indexes = list(pool.map(lambda _: indexer.index(subject(opened)), range(8)))
    assert opened.times == 1
    assert len(set(map(id, indexes))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diff_id": DiffID.of(b"x")}, "it decodes to sha256:"),
        ({"stored_digest": Digest.of(b"x")}, "its stored bytes are sha256:"),
        ({"size": 5}, "where 5 are recorded"),
    ],
)
@pytest.mark.parametrize("encoder", ["gzip", "zstd frames", "plain"])
def test_what_is_not_what_is_recorded_is_corrupt_and_not_decoded_again(
    tmp_path: Path, change: dict[str, object], message: str, encoder: str
) -> None:
    stored = ENCODERS[encoder](DATA)
    opened = Opened(stored)
    hurt = replace(subject_of(stored, DATA, opened), **change)  # type: ignore[arg-type]
    opened.times = 0
    with indexing(tmp_path) as indexer:
        for _ in range(3):
            with pytest.raises(Corrupt, match=message):
                indexer.index(hurt)
        assert opened.times == 1
        assert indexer.find(hurt) is None
    assert not list((tmp_path / "cache").rglob("*.*"))


@pytest.mark.parametrize(
    "change", [{"diff_id": DiffID.of(b"x")}, {"size": 5}, {"stored_digest": None, "size": 5}]
)
@pytest.mark.parametrize("liar_first", [True, False])
def test_who_lies_of_the_same_bytes_harms_nobody_else(
    tmp_path: Path, change: dict[str, object], liar_first: bool
) -> None:
    liar = replace(subject(), **change)  # type: ignore[arg-type]

    def expose() -> None:
        with pytest.raises(Corrupt):
            indexer.index(liar)
        assert indexer.loaded(liar) is None

    with indexing(tmp_path) as indexer:
        if liar_first:
            expose()
        assert indexer.index(subject()).facts.diff_id == DiffID.of(DATA)
        kept = index_file(tmp_path).read_bytes()
        expose()
        assert indexer.find(subject()) is not None
    assert index_file(tmp_path).read_bytes() == kept


def test_a_copy_that_cannot_be_kept_costs_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened(STORED)
    with indexing(tmp_path) as indexer:
        index = indexer.index(subject(opened), with_copy=False)
        monkeypatch.setattr(Cache, "begin", lambda cache: None)
        assert indexer.copying(subject(opened), index) is None
    assert opened.times == 1


def test_a_failure_to_read_is_tried_again(tmp_path: Path) -> None:
    blob = FailingBlob(STORED, 1000)
    with indexing(tmp_path) as indexer:
        with pytest.raises(ImgfsError, match="fire"):
            indexer.index(subject(lambda: blob))
        assert blob.closed
        blob.failing = False
        assert indexer.index(subject(lambda: blob)).facts.size == len(DATA)


def test_a_blob_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "layer"
    with indexing(tmp_path) as indexer:
        with pytest.raises(FileNotFoundError):
            indexer.index(subject(lambda: FileBlob(path)))
        path.write_bytes(STORED)
        assert indexer.index(subject(lambda: FileBlob(path)))


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "version", "foreign"])
def test_an_index_that_is_not_right_is_made_anew(tmp_path: Path, damage: str) -> None:
    with indexing(tmp_path) as indexer:
        expected = indexer.index(subject()).facts
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
                indexer.index(subject_of(ENCODERS["gzip"](other), other, Opened(ENCODERS["gzip"](other))))
            data = bytearray(index_file(tmp_path / "other").read_bytes())
    path.write_bytes(data)
    opened = Opened(STORED)
    with indexing(tmp_path) as indexer:
        assert indexer.index(subject(opened)).facts == expected
    assert opened.times == 1
    with indexing(tmp_path) as indexer:
        assert indexer.find(subject()) is not None


def test_members_that_are_damaged_are_found_anew(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer:
        names = [member.name for member in indexer.members(subject())]
    path = index_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1  # the last section, which is not read before it is asked for
    path.write_bytes(data)
    opened = Opened(STORED)
    with indexing(tmp_path) as indexer:
        assert indexer.find(subject(opened)) is not None
        assert [member.name for member in indexer.members(subject(opened))] == names
        assert opened.times == 1


def test_an_index_that_was_evicted_is_still_good_to_who_has_it(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer:
        opened = Opened(STORED)
        index = indexer.index(subject(opened))
        Cache(str(tmp_path / "cache"), 0).prune()
        assert indexer.find(subject(opened)) is index
        assert len(indexer.members(subject(opened))) == 12
        assert opened.times == 2, "the members alone are found again"


def test_no_file_of_the_cache_stays_open(tmp_path: Path) -> None:
    """What is dropped in the event loop must have none to close."""
    with indexing(tmp_path) as first:
        first.index(subject())
    with indexing(tmp_path) as indexer:
        index = indexer.find(subject())
        assert index is not None
        assert len(index.members()) == 12
        opened = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
        assert os.path.realpath(index_file(tmp_path)) not in opened


@pytest.mark.parametrize("limit", [0, 4096])
def test_a_cache_that_keeps_nothing_is_no_obstacle(tmp_path: Path, limit: int) -> None:
    opened = Opened(STORED)
    with indexing(tmp_path, limit) as indexer:
        assert indexer.index(subject(opened)).facts.size == len(DATA)
        assert len(indexer.members(subject(opened))) == 12
    assert opened.times == 1


def test_indexes_nobody_reads_with_take_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgfs.layers.indexer._LOADED_SIZE", 500)
    with indexing(tmp_path) as indexer:
        subjects = []
        for number in range(30):
            data = layer_tar({f"{number}": os.urandom(200_000)})
            stored = ENCODERS["gzip"](data)
            subjects.append(subject_of(stored, data, Opened(stored)))
            indexer.index(subjects[-1])
        loaded = [subject for subject in subjects if indexer.loaded(subject)]
        assert 0 < len(loaded) < 30
        assert loaded[-1] is subjects[-1]
        assert all(indexer.find(subject) for subject in subjects)


def test_what_nothing_is_recorded_of_is_learnt(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer:
        facts = indexer.learn(MemoryBlob(STORED), "layer")
        assert (facts.diff_id, facts.stored_digest) == (DiffID.of(DATA), Digest.of(STORED))
        assert indexer.find(subject()) is not None
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
        building = indexer.build(subject_of(zeros, b"", lambda: slow))
        other = indexer.build(subject())
        started.wait(10)
    for stopped in (building, other):
        assert stopped is not None
        with pytest.raises(Corrupt, match="stopped"):
            stopped.wait()
    assert threading.active_count() == before
    assert not list((tmp_path / "cache").rglob("*.*")), "nothing half made is left"


def test_closing_lets_a_pass_end_that_has_decoded_everything(tmp_path: Path) -> None:
    """Whoever read a layer to its end leaves its index behind, however soon the file system is unmounted."""

    class SlowEnd(MemoryBlob):
        def pread(self, size: int, offset: int) -> bytes:
            if threading.current_thread().name == "imgfs hashing" and offset + size >= self.size:
                decoded.wait(10)
            return super().pread(size, offset)

    decoded = threading.Event()
    with indexing(tmp_path) as indexer:
        building = indexer.build(subject(lambda: SlowEnd(STORED)))
        assert building is not None
        while building.position < len(DATA):
            threading.Event().wait(0.01)
        closing = threading.Thread(target=indexer.close)
        closing.start()
        decoded.set()
        closing.join()
    with indexing(tmp_path) as indexer:
        assert indexer.find(subject()) is not None


def test_what_was_closed_can_be_read_but_not_built(tmp_path: Path) -> None:
    indexer = Indexer(Cache(str(tmp_path / "cache"), 1 << 20))
    indexer.index(subject())
    indexer.close()
    assert indexer.find(subject()) is not None


def test_a_lack_of_memory_for_the_index_names_the_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Cache, "keep", keep)
    with indexing(tmp_path) as indexer:
        with pytest.raises(Corrupt, match=f"^not enough memory to index layer {DiffID.of(DATA)}"):
            indexer.index(subject())
