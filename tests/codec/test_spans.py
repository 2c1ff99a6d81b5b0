"""Blobs read span by span, and their tables; also tries the cache of spans."""

import bz2
import hashlib
import lzma
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Event

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob import Blob, MemoryBlob
from imgfs.cache import Cache
from imgfs.codec import Compression, SeekTable, SpanBlob, SpanCache, SpanTable
from imgfs.codec.span_hasher import SPAN_SIZE, SpanHasher
from imgfs.codec.span_table import LARGEST_SPAN
from imgfs.codec.spans import UNCOUNTED, PlainDecoder, PointDecoder, SpanStats, plain_spans, spans_of
from imgfs.digest import Digest
from imgfs.errors import Corrupt, StoreError
from tests.codec.counted import CountedBlob
from tests.codec.encoders import gzip_member, texture
from tests.tools import require_root

MIB = 1 << 20
SIZES = {"words": 3_500_000, "noise": 2_500_000, "zeros": 700_000}
DATA = b"".join(
    texture(kind, SIZES[kind], seed)
    for seed, kind in enumerate(("words", "noise", "zeros", "words", "noise"))
)
PARTS = [DATA[start : start + 700_000] for start in range(0, len(DATA), 700_000)]
STORED = {
    "gzip": gzip_member(DATA, 1),
    "members": b"".join(map(gzip_member, PARTS)),
    "zstd": b"".join(map(zstandard.compress, PARTS)),
    "one frame": zstandard.compress(DATA),
    "xz": b"".join(lzma.compress(part, preset=0) for part in PARTS),
    "bzip2": bz2.compress(DATA),
    "plain": DATA,
}
CHAINED = {"one frame", "bzip2"}


def compression_of(kind: str) -> Compression:
    names = {"members": "gzip", "one frame": "zstd"}
    return Compression(names.get(kind, kind))


class Counts:
    """Stats that count."""

    def __init__(self) -> None:
        self.spans: Counter[str] = Counter()

    def count_spans(self, blob: str, what: str, amount: int = 1) -> None:
        assert blob == "sha256:blob"
        self.spans[what] += amount


def tables_of(kind: str) -> tuple[SeekTable | None, SpanTable]:
    if kind == "plain":
        hasher = SpanHasher()
        hasher.update(DATA)
        spans = hasher.finish()
        return None, plain_spans(len(DATA), spans.offsets, spans.digests)
    with compression_of(kind).codec.decode_pass(MemoryBlob(STORED[kind]), with_spans=True) as running:
        assert sum(map(len, running)) == len(DATA)
        table, spans = running.table, running.spans
    return table, spans_of(table, spans.offsets, spans.digests)


TABLES = {kind: tables_of(kind) for kind in STORED}


def opened(
    kind: str, stored: CountedBlob, cache: SpanCache | None = None, stats: SpanStats = UNCOUNTED
) -> SpanBlob:
    seek_table, table = TABLES[kind]
    if seek_table is None:
        decoder: PlainDecoder | PointDecoder = PlainDecoder(table)
    else:
        decoder = PointDecoder(compression_of(kind).codec, seek_table, table)
    name = "layer sha256:example"
    return SpanBlob(stored, table, decoder, cache or SpanCache(None), name, stats=stats, digest="sha256:blob")


def cache_at(path: Path, limit: int = 1 << 30) -> SpanCache:
    return SpanCache(Cache(str(path), limit))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


KINDS = pytest.mark.parametrize("kind", STORED)


@KINDS
def test_spans_are_about_a_mebibyte_and_seek_points_are_starts_of_some(kind: str) -> None:
    seek_table, table = TABLES[kind]
    lengths = [table.length(number) for number in range(len(table))]
    assert max(lengths) <= (2 * SPAN_SIZE if "gzip" in kind or kind == "members" else SPAN_SIZE)
    assert min(lengths[:-1]) >= SPAN_SIZE // 2 - 1
    if seek_table is not None:
        starts = {table.start(number) for number in range(len(table))}
        assert {offset for offset, _, _ in seek_table.points()} <= starts
        assert len(seek_table) == (1 if kind in CHAINED else len(table))


def test_the_reads_of_before_fetch_nothing_again(tmp_path: Path) -> None:
    """Nothing is fetched ahead of a reader whose spans are in the cache."""

    def read() -> CountedBlob:
        stored = CountedBlob(STORED["gzip"])
        with opened("gzip", stored, cache_at(tmp_path)) as blob:
            assert blob.pread(6 * SPAN_SIZE, 0) == DATA[: 6 * SPAN_SIZE]
            time.sleep(0.2)  # for what would be read ahead
        return stored

    assert read().reads
    for span in (tmp_path / "1").glob("*.span"):
        data = span.read_bytes()
        if DATA.find(data) > 6 * SPAN_SIZE:
            span.unlink()
    assert read().reads == []


@KINDS
def test_every_read_is_what_is_decoded(kind: str) -> None:
    @settings(max_examples={"bzip2": 3, "xz": 10}.get(kind, 40))
    @given(st.lists(st.tuples(st.integers(0, len(DATA) + 10), st.integers(0, 3_000_000)), max_size=6))
    def check(reads: list[tuple[int, int]]) -> None:
        with opened(kind, CountedBlob(STORED[kind])) as blob:
            assert blob.size == len(DATA)
            for offset, size in reads:
                assert blob.pread(size, offset) == DATA[offset : offset + size]

    check()


@KINDS
def test_reading_in_order_fetches_everything_once(kind: str) -> None:
    stored = CountedBlob(STORED[kind])
    blob = opened(kind, stored)
    pieces = [blob.pread(100_000, offset) for offset in range(0, len(DATA), 100_000)]
    assert b"".join(pieces) == DATA
    # neighbours share the byte in which one ends and the next begins
    assert stored.total <= len(STORED[kind]) + len(TABLES[kind][1])
    assert all(b <= a + size for (a, size), (b, _) in pairwise(sorted(stored.reads)))


@pytest.mark.parametrize("kind", sorted(STORED.keys() - CHAINED))
def test_a_read_in_the_middle_fetches_one_span_by_one_read(kind: str) -> None:
    for offset in random.Random(3).sample(range(len(DATA) - 10), 10):
        stored = CountedBlob(STORED[kind])
        blob, table = opened(kind, stored), TABLES[kind][1]
        number = table.number_at(offset)
        size = min(10, table.start(number) + table.length(number) - offset)
        assert blob.pread(size, offset) == DATA[offset : offset + size]
        start, end = table.stored_range(number)
        assert stored.reads == [(start, end - start)]
        assert blob.try_pread(size, offset) == DATA[offset : offset + size]
        assert len(stored.reads) == 1


@KINDS
def test_with_a_warm_cache_nothing_is_fetched(kind: str, tmp_path: Path) -> None:
    counts = Counts()
    assert opened(kind, CountedBlob(STORED[kind]), cache_at(tmp_path), counts).pread(len(DATA), 0) == DATA
    count = len(TABLES[kind][1])
    assert counts.spans == {"fetched": count, "verified": count}
    counts, stored = Counts(), CountedBlob(b"")
    assert opened(kind, stored, cache_at(tmp_path), counts).pread(len(DATA), 0) == DATA
    assert not stored.reads
    assert counts.spans == {"from_cache": count, "verified": count}


@pytest.mark.parametrize("kind", sorted(STORED.keys() - {"bzip2"}))
def test_a_flipped_bit_of_the_stored_bytes_is_never_shown(kind: str) -> None:
    dice = random.Random(kind)
    for _ in range(5):
        damaged = bytearray(STORED[kind])
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        blob = opened(kind, CountedBlob(bytes(damaged)))
        for number in range(len(TABLES[kind][1])):
            start = TABLES[kind][1].start(number)
            try:
                assert blob.pread(1000, start) == DATA[start : start + 1000]
            except Corrupt as error:
                assert "layer sha256:example, span at " in str(error)


@KINDS
def test_bytes_of_another_blob_are_corrupt(kind: str) -> None:
    other = random.Random(1).randbytes(len(STORED[kind]))
    blob = opened(kind, CountedBlob(other))
    for offset in (0, 6_000_000, len(DATA) - 10):
        with pytest.raises(Corrupt, match="layer sha256:example, span at"):
            blob.pread(10, offset)
    with pytest.raises(Corrupt, match="layer sha256:example"):
        opened(kind, CountedBlob(STORED[kind][:1000])).pread(10, len(DATA) - 10)


def test_a_span_in_the_cache_that_was_changed_is_fetched_again(tmp_path: Path) -> None:
    opened("gzip", CountedBlob(STORED["gzip"]), cache_at(tmp_path)).pread(10, 0)
    (kept,) = (tmp_path / "1").glob("*.span")
    for damage in (b"", kept.read_bytes()[:-1], b"x" + kept.read_bytes()[1:], kept.read_bytes() + b"x"):
        kept.write_bytes(damage)
        stored = CountedBlob(STORED["gzip"])
        assert opened("gzip", stored, cache_at(tmp_path)).pread(10, 0) == DATA[:10]
        assert len(stored.reads) == 1
        assert kept.read_bytes() == DATA[: len(kept.read_bytes())]


def test_without_room_in_the_cache_everything_is_read(tmp_path: Path) -> None:
    cache = cache_at(tmp_path, 2 * MIB)
    assert opened("gzip", CountedBlob(STORED["gzip"]), cache).pread(len(DATA), 0) == DATA
    (tmp_path / "file").touch()
    cache = cache_at(tmp_path / "file")
    assert opened("gzip", CountedBlob(STORED["gzip"]), cache).pread(len(DATA), 0) == DATA


@pytest.mark.parametrize("kind", ["gzip", "one frame"])
def test_spans_that_others_drop_from_the_cache_are_read(kind: str, tmp_path: Path) -> None:
    is_over = Event()

    def prune() -> int:
        count = 0
        while not is_over.is_set():
            for path in tmp_path.glob("*/*.span"):
                path.unlink(missing_ok=True)
                count += 1
        return count

    with ThreadPoolExecutor(1) as pool, opened(kind, CountedBlob(STORED[kind]), cache_at(tmp_path)) as blob:
        pruning = pool.submit(prune)
        try:
            for offset in (*range(0, len(DATA), 300_000), *range(len(DATA) - 300_000, 0, -700_000)):
                assert blob.pread(300_000, offset) == DATA[offset : offset + 300_000]
                blob._cache._recent.pop_all()
        finally:
            is_over.set()
        assert pruning.result() > 5


@pytest.mark.parametrize("options", ["size=64k,mode=700", "ro,mode=700"])
def test_everything_is_read_where_the_cache_is_full_or_read_only(options: str, tmp_path: Path) -> None:
    require_root()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "cache", tmp_path], check=True)
    try:
        stored = CountedBlob(STORED["gzip"])
        with opened("gzip", stored, cache_at(tmp_path)) as blob:
            assert blob.pread(len(DATA), 0) == DATA
        assert not [*tmp_path.glob("*/*.span")]
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)  # the cache keeps its folder open


def test_threads_that_want_one_span_wait_for_one_fetch() -> None:
    stored = CountedBlob(STORED["gzip"], delay=0.05)
    blob = opened("gzip", stored)
    with ThreadPoolExecutor(8) as pool:
        reads = list(pool.map(lambda offset: blob.pread(10, offset), range(0, 800, 100)))
    assert reads == [DATA[offset : offset + 10] for offset in range(0, 800, 100)]
    assert len(stored.reads) == 1


def test_blobs_share_spans() -> None:
    cache = SpanCache(None)
    opened("gzip", CountedBlob(STORED["gzip"]), cache).pread(10, 0)
    stored = CountedBlob(STORED["gzip"])
    assert opened("gzip", stored, cache).pread(10, 0) == DATA[:10]
    assert not stored.reads


def test_reading_works_again_once_the_blob_does() -> None:
    stored = CountedBlob(STORED["gzip"], delay=0.02)
    stored.failing = True
    blob = opened("gzip", stored)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(blob.pread, 10, 0) for _ in range(3)]
    errors = [read.exception() for read in waiting]
    assert all(isinstance(error, StoreError) for error in errors)
    assert len({id(error) for error in errors}) == 3
    stored.failing = False
    assert blob.pread(10, 0) == DATA[:10]


@pytest.mark.parametrize("kind", ["gzip", "one frame"])
def test_a_reader_in_order_does_not_wait_for_what_another_waits_for(kind: str) -> None:
    stored = CountedBlob(STORED[kind])
    blob, table = opened(kind, stored, SpanCache(None, 1)), TABLES[kind][1]

    def read(numbers: range) -> None:
        for number in numbers:
            assert blob.pread(10, table.start(number)) == DATA[table.start(number) :][:10]

    read(range(7, 9))
    read(range(2))
    stored.stalled_from = max(offset + size for offset, size in stored.reads)
    with ThreadPoolExecutor(2) as pool:
        stalled = pool.submit(read, range(9, len(table)))
        try:
            wait_until(lambda: stored.reads[-1][0] + stored.reads[-1][1] > stored.stalled_from)
            pool.submit(read, range(2, 4)).result(10)
            assert not stalled.done()
        finally:
            stored.goes_on.set()
        stalled.result(10)
    blob.close()


def test_readers_of_spans_that_are_decoded_together_fail_together() -> None:
    stored = CountedBlob(STORED["one frame"], delay=0.3)
    stored.failing = True
    blob, table = opened("one frame", stored), TABLES["one frame"][1]
    with ThreadPoolExecutor(3) as pool:
        reads = [pool.submit(blob.pread, 10, table.start(number)) for number in (3, 4, 5)]
    assert all(isinstance(read.exception(), StoreError) for read in reads)
    assert len(stored.reads) == 1
    stored.failing, stored.delay = False, 0
    assert blob.pread(10, table.start(3)) == DATA[table.start(3) :][:10]


def test_a_reader_in_order_is_read_ahead_of_and_another_is_not() -> None:
    stored = CountedBlob(STORED["gzip"])
    blob, table = opened("gzip", stored), TABLES["gzip"][1]
    for number in (2, 0, 4, 1):
        blob.pread(10, table.start(number))
    time.sleep(0.1)
    assert len(stored.reads) == 4
    blob = opened("gzip", stored)
    for number in range(3):
        blob.pread(10, table.start(number))
    wait_until(lambda: len(stored.reads) == 4 + 5)
    assert [offset for offset, _ in stored.reads[4:]] == [
        table.stored_range(number)[0] for number in range(5)
    ]
    blob.close()
    blob.close()
    wait_until(lambda: stored.closed == 1)


def test_a_blob_closed_while_it_is_read_ahead_is_closed_after_that() -> None:
    stored = CountedBlob(STORED["gzip"], delay=0.05)
    blob, table = opened("gzip", stored), TABLES["gzip"][1]
    for number in range(3):
        blob.pread(10, table.start(number))
    blob.close()
    assert not stored.closed
    wait_until(lambda: stored.closed == 1)


@pytest.mark.parametrize(
    ("size", "offsets", "starts", "ends", "digests", "entries"),
    [
        (0, [], [], [], bytes(32), None),
        (5, [], [], [], b"", None),
        (5, [1], [0], [5], bytes(32), None),
        (5, [0, 0], [0, 1], [1, 2], bytes(64), None),
        (5, [0, 5], [0, 1], [1, 2], bytes(64), None),
        (5, [0], [0, 1], [1], bytes(32), None),
        (5, [0], [2], [1], bytes(32), None),
        (5, [0], [0], [1], bytes(31), None),
        (5, [0], [0], [1], bytes(32), b"\0"),
        (5, [0], [0], [1], bytes(32), b"\1\1"),
        (1 << 40, [0], [0], [1], bytes(32), None),
    ],
)
def test_a_table_that_does_not_fit_together_is_corrupt(
    size: int,
    offsets: list[int],
    starts: list[int],
    ends: list[int],
    digests: bytes,
    entries: bytes | None,
) -> None:
    with pytest.raises(Corrupt, match="spans: "):
        SpanTable(size, offsets, starts, ends, digests, entries)


def test_a_blob_of_nothing_has_no_spans() -> None:
    blob = SpanBlob(
        CountedBlob(b""), table := SpanTable(0, [], [], [], b""), PlainDecoder(table), SpanCache(None), ""
    )
    assert blob.size == 0
    assert blob.pread(10, 0) == b""


@pytest.mark.parametrize("length", [400, 1600])
def test_a_shared_span_whose_length_is_recorded_wrong_is_corrupt(length: int, tmp_path: Path) -> None:
    cache, parts = cache_at(tmp_path), [PARTS[1][:1000], PARTS[1][2000:3000]]
    digests = [hashlib.sha256(part).digest() for part in parts]
    stored = b"".join(parts)

    def blob(lengths: list[int]) -> SpanBlob:
        table = plain_spans(sum(lengths), [0, lengths[0]], b"".join(digests))
        return SpanBlob(CountedBlob(stored[: sum(lengths)]), table, PlainDecoder(table), cache, "layer")

    with blob([1000, 1000]) as right, blob([length, 2000 - length]) as wrong:
        assert right.pread(2000, 0) == stored
        assert wrong.try_pread(2000, 0) is None
        with pytest.raises(Corrupt):
            wrong.pread(2000, 0)
    opened_again = SpanCache(cache._cache)
    assert opened_again.find(Digest.of(parts[0]), length) is None
    assert opened_again.find(Digest.of(parts[0]), 1000) == parts[0]


class Endless(CountedBlob):
    """A blob of 1 TiB that is not read at once."""

    @property
    def size(self) -> int:
        return 1 << 40

    def pread(self, size: int, offset: int) -> bytes:
        assert size <= LARGEST_SPAN
        return super().pread(size, offset)


def test_a_span_that_is_said_to_take_a_tebibyte_is_read_no_further_than_needed() -> None:
    data = DATA[:5000]
    table = SpanTable(5000, [0], [0], [1 << 40], hashlib.sha256(data).digest())

    class Decoder:
        def prepare(self, number: int) -> None:
            pass

        def decode(self, number: int, stored: Blob) -> Iterator[bytes]:
            return iter(lambda: stored.pread(1 << 16, 0), b"")

    with SpanBlob(Endless(data), table, Decoder(), SpanCache(None), "layer") as blob:
        assert blob.pread(5000, 0) == data
