"""The standard library's zstd module, which Python has from 3.14 on, and small pieces of bytes compressed with it."""

import sys

from imgfs.errors import Corrupt

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["pack", "unpack", "zstd"]


def pack(data: bytes | bytearray, level: int = 3) -> bytes:
    """Compress some bytes, with a checksum."""
    parameter = zstd.CompressionParameter
    return zstd.compress(data, options={parameter.compression_level: level, parameter.checksum_flag: 1})


def unpack(packed: bytes | memoryview, limit: int, name: str) -> bytes:
    """What `pack` was given. Raises Corrupt naming `name` if it is damaged, or more than `limit` bytes."""
    decoder = zstd.ZstdDecompressor()
    try:
        data = decoder.decompress(packed, limit + 1)
    except zstd.ZstdError as error:
        raise Corrupt(f"{name} is damaged: {error}") from None
    if not decoder.eof or len(data) > limit:
        raise Corrupt(f"{name} is cut off, or more than {limit} bytes")
    return data
