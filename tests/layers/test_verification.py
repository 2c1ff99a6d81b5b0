"""Whole layers read and judged, whatever is remembered of them."""

import random
from pathlib import Path

import pytest

from imgfs.errors import Corrupt, ImgfsError
from imgfs.layers import index_layer, stored_size, verify_layer
from tests.images import layer_tar
from tests.indexing import indexing
from tests.layers.stored_layers import ENCODERS, big_tar, stored_layer
from tests.layers.test_blob_layer import flip

DATA = big_tar(1_200_000)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_flipped_bit_anywhere_is_found_even_if_the_layer_is_indexed(tmp_path: Path, encoder: str) -> None:
    path = tmp_path / "layer"
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, path, DATA, encoder)
        index_layer(layer, lambda count: None)
        verify_layer(layer, lambda count: None)
        size = path.stat().st_size
        for place in {0, size - 1, *(random.Random(1).randrange(size) for _ in range(10))}:
            flip(path, place, 1)
            with pytest.raises(ImgfsError):
                verify_layer(layer, lambda count: None)
            flip(path, place, 1)
        verify_layer(layer, lambda count: None)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_progress_adds_up_to_the_stored_size(tmp_path: Path, encoder: str) -> None:
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", DATA, encoder)
        for work in (verify_layer, index_layer):
            told: list[int] = []
            work(layer, told.append)
            assert sum(told) == stored_size(layer) == (tmp_path / "layer").stat().st_size
            assert min(told) > 0


def test_a_layer_that_is_indexed_is_not_read_again(tmp_path: Path) -> None:
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", DATA)
        index_layer(layer, lambda count: None)
        told: list[int] = []
        index_layer(layer, told.append)
        assert not told


@pytest.mark.parametrize("encoder", ["plain", "gzip"])
def test_listing_a_tar_that_goes_on_behind_a_lone_block_of_zeros_logs_one_line(
    tmp_path: Path, encoder: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = layer_tar({"a": b"1"})[:1024] + bytes(512) + layer_tar({"b": b"2"})
    with indexing(tmp_path) as indexer:
        layer = stored_layer(indexer, tmp_path / "layer", data, encoder)
        for _ in range(2):
            assert [member.name for member in layer.members()] == [b"a"]
    (record,) = caplog.records
    line = "not all of its members can be read: data follows the block of zeros that ends it, at offset 1024"
    assert line in record.message
    assert layer.diff_id in record.message


@pytest.mark.parametrize("encoder", ["plain", "gzip"])
def test_a_tar_that_goes_on_behind_a_lone_block_of_zeros_is_not_good(tmp_path: Path, encoder: str) -> None:
    """Its digests are right; engines refuse it, and tools see what comes before."""
    first = layer_tar({"a": b"1"})[:1024]
    with indexing(tmp_path) as indexer:
        for number, behind in enumerate((layer_tar({"b": b"2"}), bytes(512), b"")):
            layer = stored_layer(indexer, tmp_path / f"{number}", first + bytes(512) + behind, encoder)
            if any(behind):
                with pytest.raises(
                    Corrupt, match="data follows the block of zeros that ends it, at offset 1024"
                ):
                    verify_layer(layer, lambda count: None)
                assert [member.name for member in layer.members()] == [b"a"]
            else:
                verify_layer(layer, lambda count: None)
