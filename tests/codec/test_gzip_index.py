"""The index that rapidgzip exports."""

import io
import struct

import pytest

from imgfs.codec import Compression
from imgfs.codec.gzip_index import read_index
from imgfs.codec.seek_table import SeekTableBuilder
from tests.codec.encoders import texture

WINDOW = texture("words", 32768, 1)
INDEX = (
    struct.pack("<5sBBQQIII", b"GZIDX", 1, 0, 1000, 9000, 1 << 20, 32768, 3)
    + struct.pack("<QQBB", 10, 0, 0, 0)
    + struct.pack("<QQBB", 100, 4000, 3, 1)
    + struct.pack("<QQBB", 500, 8000, 0, 1)
    + WINDOW
    + bytes(32768)
)


def test_points_come_out() -> None:
    builder = SeekTableBuilder(Compression.GZIP)
    assert read_index(io.BytesIO(INDEX), builder) == 9000
    table = builder.build(1000, 9000)
    assert len(table) == 3
    assert (table.point_before(4000).bit, table.point_before(4000).window) == (8 * 100 - 3, WINDOW)
    assert (table.point_before(8500).bit, table.point_before(8500).window) == (4000, bytes(32768))


@pytest.mark.parametrize("size", [0, 20, 50, len(INDEX) - 1])
def test_an_index_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="cut off"):
        read_index(io.BytesIO(INDEX[:size]), SeekTableBuilder(Compression.GZIP))


def test_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not an index"):
        read_index(io.BytesIO(b"x" * 100), SeekTableBuilder(Compression.GZIP))
