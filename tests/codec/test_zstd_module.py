"""Small pieces of bytes, compressed."""

import pytest
import zstandard

from imgfs.codec.zstd_module import pack, unpack
from imgfs.errors import Corrupt


@pytest.mark.parametrize("size", [0, 1, 1000, 100_000])
def test_what_was_packed_is_unpacked_up_to_its_limit(size: int) -> None:
    packed = pack(bytes(size))
    assert unpack(packed, size, "it") == bytes(size)
    if size:
        with pytest.raises(Corrupt, match=f"^it is cut off, or more than {size - 1} bytes$"):
            unpack(packed, size - 1, "it")


def test_a_changed_or_missing_byte_is_corrupt() -> None:
    packed = pack(b"some words, and others" * 9)
    for place in range(4, len(packed)):
        hurt = bytearray(packed)
        hurt[place] ^= 1
        with pytest.raises(Corrupt, match=r"it is (damaged|cut off)"):
            unpack(bytes(hurt), 1000, "it")
        with pytest.raises(Corrupt, match=r"it is (damaged|cut off)"):
            unpack(packed[:place], 1000, "it")


def test_it_is_a_frame_that_other_programs_read() -> None:
    assert zstandard.decompress(pack(b"hello")) == b"hello"
