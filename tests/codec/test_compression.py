"""The table of compressions."""

import pytest

from imgfs.codec import Codec, Compression


def test_every_compression_but_plain_has_a_codec() -> None:
    for compression in Compression:
        if compression is not Compression.PLAIN:
            assert isinstance(compression.codec, Codec)
    with pytest.raises(ValueError, match="not compressed"):
        _ = Compression.PLAIN.codec


def test_a_compression_is_its_name() -> None:
    assert Compression("gzip") is Compression.GZIP
    assert f"{Compression.GZIP}" == Compression.GZIP.value == "gzip"
