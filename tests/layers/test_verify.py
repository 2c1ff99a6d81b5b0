"""Whole layers read and judged, whatever is remembered of them."""

import random
from pathlib import Path

import pytest

from imgfs.errors import ImgfsError
from imgfs.layers import index_layer, stored_size, verify_layer
from tests.indexing import indexing
from tests.layers.subjects import ENCODERS, big_tar, stored_layer
from tests.layers.test_stored_tar import flip

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
