"""A layer's tar, read anywhere by many, from every form that it is stored in."""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from imgfs.cache import Cache
from imgfs.codec import RandomBlob
from imgfs.errors import Corrupt, ImgfsError
from imgfs.layers import Indexer
from imgfs.layers.blob_layer import BlobTar
from imgfs.tar import TarBlob
from tests.conftest import eventually
from tests.indexing import indexing
from tests.layers.stored_layers import ENCODERS, big_tar, index_of, layer_of, stored_layer

DATA = big_tar(9_000_000)
SMALL = big_tar(900_000)
SIZES = [1, 7, 511, 512, 4096, 20_000, 131_072, 300_000]


def read_at_random(tar: TarBlob, seed: int, reads: int) -> int:
    dice = random.Random(seed)
    for _ in range(reads):
        size, offset = dice.choice(SIZES), dice.randrange(len(DATA) + 1000)
        tried = tar.try_pread(size, offset)
        assert tried in (None, DATA[offset : offset + size])
        assert tar.pread(size, offset) == DATA[offset : offset + size]
    return reads


@pytest.mark.parametrize("known", [True, False], ids=["indexed", "never seen"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_random_reads_by_several_threads_are_the_plain_bytes(
    tmp_path: Path, encoder: str, known: bool
) -> None:
    """Some 2,400 reads over all forms; half of the threads share a reader."""
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", DATA, encoder)
        if known:
            index_of(layer)
            assert layer.known_size == len(DATA)
        with layer.open() as shared, layer.open() as own, ThreadPoolExecutor(4) as pool:
            tars = [shared, shared, shared, own]
            done = pool.map(read_at_random, tars, range(4), [50] * 4)
            assert sum(done) == 200
            assert shared.size == own.size == len(DATA)


@pytest.mark.parametrize("limit", [1 << 30, 0], ids=["room for a copy", "no room"])
@pytest.mark.parametrize("encoder", ["gzip", "zstd frames"])
def test_reads_that_decode_the_same_again_and_again_get_a_copy(
    tmp_path: Path, encoder: str, limit: int
) -> None:
    """As of a tar in another order: each read starts behind the one before, farther than decoders keep bytes."""
    data = big_tar(12_000_000)
    with indexing(tmp_path, limit) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", data, encoder)
        index_of(layer, with_copy=False)
        with layer.open() as tar:
            assert isinstance(tar, BlobTar)
            for turn in range(24):
                for offset in range(turn * 1000, len(data), 1_000_000):
                    assert tar.pread(500, offset) == data[offset : offset + 500]
            decoded = tar._indexed.decoded if isinstance(tar._indexed, RandomBlob) else 0
            if limit:
                assert eventually(lambda: tar._content.copy is not None)
                assert decoded < 7 * len(data)
            else:
                assert decoded > 9 * len(data)
                assert tar._content.copy is None


def places(size: int) -> list[int]:
    """Where to flip bits: at both ends, and all over."""
    return [0, 1, 2, 3, 8, size - 1, size - 6, *(random.Random(size).randrange(size) for _ in range(12))]


@pytest.mark.parametrize("digest_known", [True, False], ids=["", "no digest recorded"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_flipped_bit_is_an_error_or_correct_bytes_once_indexed(
    tmp_path: Path, encoder: str, digest_known: bool
) -> None:
    path = tmp_path / "layer"
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, path, SMALL, encoder, digest_known=digest_known)
        index_of(layer, with_copy=False)
    failed = 0
    for place in places(path.stat().st_size):
        flip(path, place, 1 << place % 8)
        with indexing(tmp_path) as indexer:
            layer = replace(layer, indexer=indexer)
            try:
                with layer.open() as tar:
                    for offset in range(0, len(SMALL), 65_536):
                        assert tar.pread(65_536, offset) == SMALL[offset : offset + 65_536]
            except ImgfsError as error:
                assert layer.diff_id in str(error), "names the layer"
                failed += 1
        flip(path, place, 1 << place % 8)
    assert failed >= 12


def flip(path: Path, place: int, bits: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ bits]))


@pytest.mark.parametrize("recorded", [len(SMALL) - 512, len(SMALL) + 512])
@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_recorded_size_that_is_wrong_cuts_nothing_off(
    tmp_path: Path, encoder: str, indexed: bool, recorded: int
) -> None:
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", SMALL, encoder)
        if indexed:
            index_of(layer)
        with pytest.raises(Corrupt, match=f"where {recorded} are recorded"):
            with replace(layer, recorded_size=recorded).open() as tar:
                for offset in range(0, recorded, 65_536):
                    tar.pread(min(65_536, recorded - offset), offset)


def test_a_blob_that_becomes_shorter_is_an_error(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", DATA)
        index_of(layer, with_copy=False)
        with layer.open() as tar:
            os.truncate(tmp_path / "layer", 100_000)
            with pytest.raises(ImgfsError):
                tar.pread(1000, 8_000_000)


def copies(folder: Path) -> list[Path]:
    return list((folder / "cache").rglob("*.copy"))


@pytest.mark.parametrize("encoder", ["gzip", "zstd frame"])
def test_a_decoded_copy_that_is_damaged_or_gone_is_made_good(tmp_path: Path, encoder: str) -> None:
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", DATA, encoder)
        index_of(layer)
        with layer.open() as tar:
            assert read_at_random(tar, 1, 10)
            (copy,) = copies(tmp_path)
            flip(copy, 4_000_000, 1)
            for offset in range(0, len(DATA), 131_072):
                assert tar.try_pread(131_072, offset) in (None, DATA[offset : offset + 131_072])
                assert tar.pread(131_072, offset) == DATA[offset : offset + 131_072]
        index_of(layer)
        with layer.open() as tar:
            assert read_at_random(tar, 2, 10)
            Cache(str(tmp_path / "cache"), 0).prune()
            assert read_at_random(tar, 3, 10)


def test_one_huge_zstd_frame_is_read_from_a_sparse_copy_within_the_budget(tmp_path: Path) -> None:
    data = big_tar(30_000_000)
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", data, "zstd frame")
        index = index_of(layer, with_copy=False)
        assert index.table.needs_copy
        assert not copies(tmp_path)
        with layer.open() as tar:
            assert tar.pread(1000, 29_000_000) == data[29_000_000:29_001_000]
        assert eventually(lambda: bool(copies(tmp_path)))
        (copy,) = copies(tmp_path)
        status = copy.stat()
        assert status.st_size == len(data)
        assert status.st_blocks * 512 < 0.7 * len(data), "a third of it is zeros"


def test_two_huge_frames_in_a_budget_for_one_are_both_readable(tmp_path: Path) -> None:
    one, two = big_tar(27_000_000), big_tar(24_000_000)
    with indexing(tmp_path, 25 << 20) as indexer:
        layers = [
            (stored_layer(indexer, tmp_path / str(len(data)), data, "zstd frame"), data)
            for data in (one, two)
        ]
        for _ in range(2):
            for layer, data in layers:
                with layer.open() as tar:
                    for offset in (len(data) - 500, 1000, len(data) // 2):
                        assert tar.pread(100, offset) == data[offset : offset + 100]
        used = sum(path.stat().st_blocks * 512 for path in (tmp_path / "cache").rglob("*.*"))
        assert used <= 25 << 20


@pytest.mark.parametrize("encoder", ["xz", "bzip2", "zstd frame"])
def test_without_room_for_a_copy_it_is_decoded_from_the_start_for_each_read(
    tmp_path: Path, encoder: str
) -> None:
    data = big_tar(20_000_000)
    with indexing(tmp_path, 1 << 20) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", data, encoder)
        assert index_of(layer).table.needs_copy
        with layer.open() as tar:
            for offset in (19_000_000, 1000, 10_000_000):
                assert tar.pread(1000, offset) == data[offset : offset + 1000]
        assert not copies(tmp_path)


def test_plain_layers_need_no_index_and_are_read_in_place(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", DATA, "plain")
        with layer.open() as tar:
            assert tar.known_size == layer.known_size == len(DATA)
            assert tar.try_pread(1000, 5_000_000) in (None, DATA[5_000_000:5_001_000])
            assert tar.pread(1000, 5_000_000) == DATA[5_000_000:5_001_000]
            assert tar.ending_before(len(DATA)) is not None
        assert [member.name for member in layer.members()] == [b"file-%d" % number for number in range(12)]
        assert not list((tmp_path / "cache").rglob("*.*"))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_members_are_those_of_the_tar(tmp_path: Path, encoder: str) -> None:
    with indexing(tmp_path) as indexer:
        for digest_known in (True, False):
            layer = stored_layer(indexer, tmp_path / "layer", DATA, encoder, digest_known=digest_known)
            members = layer.members()
            assert [member.name for member in members] == [b"file-%d" % number for number in range(12)]
            assert {member.size for member in members} == {750_000}


def test_a_layer_of_a_wrong_digest_is_no_layer(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", DATA)
        (tmp_path / "layer").write_bytes(ENCODERS["gzip"](big_tar(1_000_000)))
        with layer.open() as tar, pytest.raises(Corrupt, match="failed to verify"):
            _ = tar.size


def test_closing_twice_is_closing(tmp_path: Path) -> None:
    indexer = Indexer(Cache(str(tmp_path / "cache"), 1 << 30))
    tar = stored_layer(indexer, tmp_path / "layer", DATA).open()
    assert tar.pread(5, 0) == DATA[:5]
    tar.close()
    tar.close()
    indexer.close()


@pytest.mark.parametrize(
    ("stored", "what"),
    [
        (big_tar(1), "an uncompressed tar, of another digest"),
        (b"\0\1" * 900, "neither a tar nor compressed as .*"),
    ],
)
def test_what_is_stored_in_place_of_a_layer_is_said(tmp_path: Path, stored: bytes, what: str) -> None:
    with indexing(tmp_path) as indexer, pytest.raises(Corrupt, match=f": its stored bytes are {what}$"):
        layer_of(indexer, stored, SMALL).open()
