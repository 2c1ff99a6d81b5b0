"""Layers whose stored bytes are in a registry: what is fetched of them, and what is believed of their indexes.

Also tries the forms in which indexes are kept there, and their comparison with layers.
"""

import hashlib
import random
import struct
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from imgfs.blob import MemoryBlob
from imgfs.codec import Compression
from imgfs.codec.seek_table import SeekPoint, SeekTableBuilder
from imgfs.codec.span_hasher import Spans
from imgfs.codec.span_map import pack_map
from imgfs.digest import DiffID, Digest
from imgfs.errors import Corrupt, StoreError
from imgfs.layers import BlobLayer, Indexer
from imgfs.layers.index_file import LayerIndex
from imgfs.layers.index_parts import IndexParts, index_from_parts, parts_of, read_map
from imgfs.layers.member_list import MemberList, MemberPacker
from imgfs.layers.trust import Level
from imgfs.layers.verification import index_layer, verify_layer
from imgfs.registry.stats import Stats
from tests.codec.counted import CountedBlob
from tests.indexing import indexing
from tests.layers.stored_layers import ENCODERS, big_tar, layer_of

TAR = big_tar()
STORED = {encoder: ENCODERS[encoder](TAR) for encoder in ENCODERS if encoder != "bzip2"}
KINDS = pytest.mark.parametrize("kind", STORED)
CHAINED = {"zstd frame", "xz"}


class Registry:
    """A layer as a registry has it; `blobs` are those that were opened."""

    def __init__(self, kind: str, stored: bytes | None = None, delay: float = 0) -> None:
        self.delay = delay
        self.digest = Digest.of(STORED[kind])
        self.stored = STORED[kind] if stored is None else stored
        self.blobs: list[CountedBlob] = []

    def open(self) -> CountedBlob:
        self.blobs.append(CountedBlob(self.stored, self.delay))
        return self.blobs[-1]

    def layer(self, indexer: Indexer) -> BlobLayer:
        layer = layer_of(indexer, b"", TAR, self.open)
        layer.stored_digest = self.digest
        return layer

    @property
    def fetched(self) -> int:
        return sum(blob.total for blob in self.blobs)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, IndexParts]:
    """The index of each layer, as parts."""
    found = {}
    for kind in STORED:
        with (
            indexing(tmp_path_factory.mktemp("cache")) as indexer,
            Registry(kind).layer(indexer).content() as content,
        ):
            found[kind] = parts_of(content.wait_for_index(with_copy=False, to_share=True))
    return found


def external(
    parts: IndexParts, windows: CountedBlob, level: Level = Level.FOUND
) -> Callable[..., LayerIndex]:
    """What finds the index that was made of `parts`."""
    return lambda *_: index_from_parts(parts.map, windows, lambda name: getattr(parts, name), level)


@KINDS
def test_without_an_index_the_blob_is_fetched_once_and_never_before_a_read(kind: str, tmp_path: Path) -> None:
    registry = Registry(kind)
    with indexing(tmp_path) as indexer:
        layer = registry.layer(indexer)
        assert layer.look_for_size() is None
        assert not layer.is_verified
        assert not registry.fetched
        with layer.open() as tar:
            pieces = [tar.pread(100_000, offset) for offset in range(0, len(TAR), 100_000)]
        assert b"".join(pieces) == TAR
        assert layer.is_verified
        assert registry.fetched <= len(registry.stored) + 2 * 512 + (1 << 20 if "gzip" in kind else 0)
    second = Registry(kind)
    with indexing(tmp_path) as indexer:
        layer = second.layer(indexer)
        assert layer.look_for_size() == len(TAR)
        assert len(layer.members()) == 12
        with layer.open() as tar:
            assert tar.pread(len(TAR), 0) == TAR
        assert not second.fetched


@KINDS
def test_with_an_index_in_the_cache_spans_are_fetched(kind: str, tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer, Registry(kind).layer(indexer).content() as content:
        content.wait_for_index(with_copy=False)
    registry, stats = Registry(kind), Stats()
    with indexing(tmp_path, stats=stats) as indexer:
        layer = registry.layer(indexer)
        assert layer.look_for_size() == layer.known_size == len(TAR)
        assert len(layer.members()) == 12
        assert not registry.fetched
        with layer.open() as tar:
            assert tar.pread(1000, 5_000_000) == TAR[5_000_000:5_001_000]
            if kind not in CHAINED:
                assert sum(len(blob.reads) for blob in registry.blobs) <= 2
                assert registry.fetched < 2 << 20
            assert tar.pread(len(TAR), 0) == TAR
    assert registry.fetched <= len(registry.stored) * 1.01
    assert stats.as_dict()["total"]["spans_fetched"] >= 5
    warm = Registry(kind)
    with indexing(tmp_path) as indexer, warm.layer(indexer).open() as tar:
        assert tar.pread(len(TAR), 0) == TAR
    assert not warm.fetched


@KINDS
def test_random_reads_are_those_of_a_local_layer(
    kind: str, parts: dict[str, IndexParts], tmp_path_factory: pytest.TempPathFactory
) -> None:
    @settings(max_examples=8, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.integers(0, len(TAR) + 9), st.integers(0, 2_000_000)), max_size=8))
    def check(reads: list[tuple[int, int]]) -> None:
        with indexing(tmp_path_factory.mktemp("cache")) as indexer:
            indexer.indexes.external = external(parts[kind], CountedBlob(parts[kind].windows))
            with Registry(kind).layer(indexer).open() as tar:
                for offset, size in reads:
                    assert tar.pread(size, offset) == TAR[offset : offset + size]

    check()


@KINDS
def test_an_index_found_elsewhere_is_used_and_not_kept(
    kind: str, parts: dict[str, IndexParts], tmp_path: Path
) -> None:
    registry, windows = Registry(kind), CountedBlob(parts[kind].windows)
    with indexing(tmp_path) as indexer:
        indexer.indexes.external = external(parts[kind], windows)
        layer = registry.layer(indexer)
        assert layer.look_for_size() == len(TAR)
        assert len(layer.members()) == 12
        assert not registry.fetched
        assert not windows.reads
        assert not layer.is_verified
        with layer.content() as content:
            assert content.index is not None
            assert content.index.level is Level.FOUND
        with layer.open() as tar:
            assert tar.pread(1000, 5_000_000) == TAR[5_000_000:5_001_000]
    assert not list(tmp_path.rglob("*.index"))
    with indexing(tmp_path) as indexer:
        assert Registry(kind).layer(indexer).look_for_size() is None


def test_windows_are_fetched_while_stored_bytes_are(parts: dict[str, IndexParts], tmp_path: Path) -> None:
    """And again if that fails."""
    windows, registry = CountedBlob(parts["gzip"].windows, delay=0.2), Registry("gzip", delay=0.2)
    with indexing(tmp_path, limit=1) as indexer:
        indexer.indexes.external = external(parts["gzip"], windows)
        with registry.layer(indexer).open() as tar:
            begun = time.monotonic()
            assert tar.pread(1000, 2_000_000) == TAR[2_000_000:2_001_000]
            assert time.monotonic() - begun < 0.35
            assert len(windows.reads) == 1
            windows.failing = True
            with pytest.raises(StoreError, match="it is not there"):
                tar.pread(1000, 10_000_000)
            windows.failing = False
            assert tar.pread(1000, 10_000_000) == TAR[10_000_000:10_001_000]


@KINDS
def test_a_layer_that_passes_by_whole_proves_the_index_that_was_found(
    kind: str, parts: dict[str, IndexParts], tmp_path: Path
) -> None:
    registry = Registry(kind)
    with indexing(tmp_path) as indexer:
        indexer.indexes.external = external(parts[kind], CountedBlob(parts[kind].windows))
        layer = registry.layer(indexer)
        with layer.content() as content:
            assert content.wait_for_index(to_share=True).level is Level.PROVED
        assert layer.is_verified
    assert list(tmp_path.rglob("*.index"))


@pytest.mark.parametrize("kind", ["gzip", "zstd frames", "plain"])
def test_verifying_fetches_a_layer_once_and_proves_its_index(
    kind: str, parts: dict[str, IndexParts], tmp_path: Path
) -> None:
    registry, read = Registry(kind), list[int]()
    with indexing(tmp_path) as indexer:
        indexer.indexes.external = external(parts[kind], CountedBlob(parts[kind].windows))
        layer = registry.layer(indexer)
        verify_layer(layer, read.append)
        assert layer.is_verified
        fetched = registry.fetched
        assert sum(read) == len(registry.stored)
        assert fetched <= len(registry.stored) + 1024
        index_layer(layer, read.append, to_share=True)
        assert registry.fetched == fetched


def test_the_same_layer_has_the_same_parts(parts: dict[str, IndexParts], tmp_path: Path) -> None:
    for kind in ("gzip", "zstd frames", "plain"):
        with indexing(tmp_path / kind) as indexer, Registry(kind).layer(indexer).content() as content:
            assert parts_of(content.wait_for_index()) == parts[kind]
            assert read_map(parts[kind].map).size == len(TAR)


def test_an_index_of_a_local_layer_has_no_parts_unless_they_are_asked_for(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer, layer_of(indexer, STORED["gzip"], TAR).content() as content:
        with pytest.raises(StoreError, match="no digests of spans"):
            parts_of(content.wait_for_index())
        assert parts_of(content.wait_for_index(to_share=True)).files


def test_an_index_without_spans_in_the_cache_is_made_again(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer:
        layer_of(indexer, STORED["gzip"], TAR).tree()
    registry = Registry("gzip")
    with indexing(tmp_path) as indexer:
        layer = registry.layer(indexer)
        assert layer.look_for_size() == len(TAR)
        with layer.open() as tar:
            assert tar.pread(10, 5_000_000) == TAR[5_000_000:5_000_010]
        with layer.content() as content:
            assert content.wait_for_index().spans is not None


def test_a_bit_that_was_flipped_in_any_part_never_shows(parts: dict[str, IndexParts], tmp_path: Path) -> None:
    """Nor in the stored bytes; what members say of the tree is what their own digest vouches for."""
    dice = random.Random(4)
    for number in range(40):
        kind = dice.choice(["gzip", "gzip members", "zstd frames", "plain"])
        name = dice.choice(["map", "windows", "stored"])
        pieces = {field: getattr(parts[kind], field) for field in ("map", "members", "windows", "files")}
        pieces["stored"] = STORED[kind]
        if not pieces[name]:
            continue
        damaged = bytearray(pieces[name])
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        pieces[name] = bytes(damaged)
        registry = Registry(kind, pieces.pop("stored"))
        with indexing(tmp_path / str(number), limit=1) as indexer:
            given_parts = IndexParts(**pieces)
            indexer.indexes.external = external(given_parts, CountedBlob(given_parts.windows))
            with registry.layer(indexer).open() as tar:
                for offset in range(0, len(TAR), 1_500_000):
                    try:
                        assert tar.pread(1000, offset) == TAR[offset : offset + 1000]
                    except Corrupt as error:
                        assert str(registry.digest) in str(error)


def test_a_forged_index_is_shown_as_found_and_refused_once_the_layer_passed_by(
    parts: dict[str, IndexParts], tmp_path: Path
) -> None:
    """Its digests are those of what the forged window makes of the stored bytes."""
    index = index_from_parts(parts["gzip"].map, MemoryBlob(parts["gzip"].windows), bytes.fromhex, Level.FOUND)
    assert index.spans is not None
    starts = [index.spans.start(place) for place in range(len(index.spans))]
    number = next(place for place in range(3, len(starts)) if index.table.point_before(starts[place]).window)
    point = index.table.point_before(index.spans.start(number))
    builder, digests = SeekTableBuilder(), []
    for place in range(len(index.spans)):
        here = index.table.point_before(index.spans.start(place))
        window = bytes(byte ^ 1 for byte in here.window) if place == number else here.window
        builder.add(here.offset, here.bit, window)
        chunks = Compression.GZIP.codec.decode_from(
            MemoryBlob(STORED["gzip"]), SeekPoint(here.offset, here.bit, window)
        )
        decoded = b"".join(islice(chunks, 100))[: index.spans.length(place)]
        digests.append(hashlib.sha256(decoded).digest())
    table = builder.build(index.header.stored_size, len(TAR))
    offsets = array("Q", [index.spans.start(place) for place in range(len(index.spans))])
    head = parts["gzip"].map[: -len(index.packed)]
    forged = replace(
        parts["gzip"],
        map=head + pack_map(table, Spans(offsets, b"".join(digests))),
        windows=table.windows.pread(1 << 30, 0),
    )
    registry = Registry("gzip")
    with indexing(tmp_path) as indexer:
        indexer.indexes.external = external(forged, CountedBlob(forged.windows))
        layer = registry.layer(indexer)
        with layer.open() as tar:
            assert tar.pread(1000, point.offset - 1500) == TAR[point.offset - 1500 : point.offset - 500]
            assert tar.pread(1 << 19, point.offset) != TAR[point.offset : point.offset + (1 << 19)]
            assert not layer.is_verified
            with layer.content() as content:
                with pytest.raises(Corrupt, match="the index that was found for it is of other content"):
                    content.wait_for_index(to_share=True)
            with pytest.raises(Corrupt, match="is of other content"):
                tar.pread(10, 0)
    assert not list(tmp_path.rglob("*.index"))


@pytest.mark.parametrize("change", ["member", "file", "ending"])
def test_an_index_with_other_members_or_files_is_refused_once_the_layer_passed_by(
    change: str, parts: dict[str, IndexParts], tmp_path: Path
) -> None:
    forged = parts["gzip"]
    if change == "member":
        members = list(MemberList(forged.members))
        members[3].mode ^= 0o4000
        packer = MemberPacker()
        packer.add(members)
        forged = replace(forged, members=packer.finish())
    elif change == "file":
        forged = replace(forged, files=forged.files[:-1] + bytes([forged.files[-1] ^ 1]))
    else:
        header = msgspec.structs.replace(read_map(forged.map), ending=512)
        packed = msgspec.msgpack.encode(header, enc_hook=str)
        start, end = forged.map.index(b"\n") + 1, len(forged.map)
        (length,) = struct.unpack_from("<I", forged.map, start)
        rest = forged.map[start + 4 + length : end]
        forged = replace(forged, map=forged.map[:start] + struct.pack("<I", len(packed)) + packed + rest)
    with indexing(tmp_path) as indexer:
        indexer.indexes.external = external(forged, CountedBlob(forged.windows))
        with Registry("gzip").layer(indexer).content() as content:
            assert content.index is not None
            with pytest.raises(Corrupt, match="is of other content"):
                content.verify(lambda chunk: None)


def test_an_index_of_another_layer_is_not_used(
    parts: dict[str, IndexParts], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with indexing(tmp_path) as indexer:
        indexer.indexes.external = external(parts["zstd frames"], CountedBlob(b""))
        layer = Registry("gzip").layer(indexer)
        assert layer.look_for_size() is None
        layer.look_for_size()
        assert caplog.text.count("its index is not used") == 1
        with layer.open() as tar:
            assert tar.pread(10, 0) == TAR[:10]


def test_a_blob_that_is_another_one_is_never_indexed(tmp_path: Path) -> None:
    for stored in (ENCODERS["gzip"](TAR[:-512] + bytes(511) + b"x"), STORED["gzip"] + b"x"):
        with indexing(tmp_path) as indexer, Registry("gzip", stored).layer(indexer).open() as tar:
            with pytest.raises(Corrupt, match="failed to verify"):
                tar.pread(len(TAR) + 1, 0)
        assert not list(tmp_path.rglob("*.index"))


@pytest.mark.parametrize("limit", [1, 3 << 20])
def test_without_room_in_the_cache_every_byte_is_right(limit: int, tmp_path: Path) -> None:
    registry = Registry("gzip")
    with indexing(tmp_path, limit) as indexer, registry.layer(indexer).open() as tar:
        pieces = [tar.pread(100_000, offset) for offset in range(0, len(TAR), 100_000)]
        assert b"".join(pieces) == TAR
    assert registry.fetched < 2.2 * len(registry.stored)


def test_spans_that_are_evicted_meanwhile_are_fetched_again(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer, Registry("gzip").layer(indexer).content() as content:
        content.wait_for_index(with_copy=False)
    for _ in range(2):
        registry = Registry("gzip")
        with indexing(tmp_path) as indexer, registry.layer(indexer).open() as tar:
            assert tar.pread(10, 0) == TAR[:10]
            assert registry.fetched
            for span in tmp_path.rglob("*.span"):
                span.unlink()


def test_a_registry_that_comes_back_is_read_again(tmp_path: Path) -> None:
    registry = Registry("gzip")
    with indexing(tmp_path) as indexer:
        layer = registry.layer(indexer)
        with layer.open() as tar:
            registry.blobs[-1].failing = True
            with pytest.raises((StoreError, Corrupt), match="registry example:5000"):
                tar.pread(10, 0)
        with layer.open() as tar:
            assert tar.pread(10, 0) == TAR[:10]


def test_processes_share_spans(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer, Registry("gzip").layer(indexer).content() as content:
        content.wait_for_index(with_copy=False)
    (tmp_path / "stored").write_bytes(STORED["gzip"])
    program = """
import sys
from imgfs.codec import Compression
from imgfs.codec.seek_table import SeekPoint, SeekTableBuilder
from imgfs.codec.span_hasher import Spans
from imgfs.codec.span_map import pack_map
from imgfs.digest import ChainID, DiffID, Digest
from imgfs.layers import BlobLayer, Cache, Indexer
from tests.codec.counted import CountedBlob
folder, diff_id = sys.argv[1:]
stored = open(folder + "/stored", "rb").read()
indexer, blob = Indexer(Cache(folder + "/cache", 1 << 30)), CountedBlob(stored)
layer = BlobLayer(ChainID(diff_id), DiffID(diff_id), None, lambda: blob, indexer, Digest.of(stored))
with layer.open() as tar:
    print(DiffID.of(tar.pread(1 << 30, 0)) == diff_id)
print(blob.total, len(stored))
"""
    command = [sys.executable, "-c", program, str(tmp_path), DiffID.of(TAR)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        output, _ = process.communicate(timeout=60)
        assert output.startswith("True\n")
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert output.startswith("True\n0 ")
