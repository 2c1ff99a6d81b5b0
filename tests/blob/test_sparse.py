"""Files with holes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfs.blob import MemoryBlob, SparseBlob
from imgfs.errors import Corrupt


class Counted(MemoryBlob):
    reads = 0

    def pread(self, size: int, offset: int) -> bytes:
        self.reads += 1
        return super().pread(size, offset)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.binary(min_size=1, max_size=9)), max_size=9),
    st.integers(0, 9),
    st.data(),
)
def test_any_range_is_that_of_the_whole_file(
    pieces: list[tuple[int, bytes]], after: int, data: st.DataObject
) -> None:
    whole, parts = b"", []
    for hole, piece in pieces:
        whole += bytes(hole)
        parts.append((len(whole), len(piece)))
        whole += piece
    whole += bytes(after)
    stored = Counted(b"".join(piece for _, piece in pieces))
    blob = SparseBlob(stored, parts, len(whole))
    offset, size = data.draw(st.integers(0, len(whole) + 2)), data.draw(st.integers(0, len(whole) + 2))
    assert blob.size == len(whole)
    assert blob.pread(size, offset) == whole[offset : offset + size]
    assert stored.reads <= 1


def test_data_that_ends_too_early_is_corrupt_and_moves_nothing() -> None:
    with pytest.raises(Corrupt, match="offset 6"):
        SparseBlob(MemoryBlob(b"abc"), [(0, 3), (5, 3)], 10).pread(10, 0)
