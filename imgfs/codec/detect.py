"""Which compression a blob is stored in, told by its first bytes.

Media types and file names lie; magic numbers do not: gzip's of RFC 1952 2.3.1, Zstandard's of RFC 8878 3.1.1
and 3.1.2. A tar may begin with any bytes, those of its first member's name, so a valid tar header wins.
"""

from enum import StrEnum

from imgfs.blob import Blob

_TAR_HEADER_SIZE = 512
_GZIP_DEFLATE = b"\x1f\x8b\x08"
_ZSTD_FRAME = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = range(0x184D2A50, 0x184D2A60)


class Compression(StrEnum):
    """How the bytes of a blob are stored."""

    PLAIN = "plain"
    GZIP = "gzip"
    ZSTD = "zstd"


def detect(blob: Blob) -> Compression:
    """The compression of `blob`; PLAIN for an empty one and for whatever is not recognised.

    Raises what `pread` raises.
    """
    start = blob.pread(_TAR_HEADER_SIZE, 0)
    if _is_tar_header(start):
        return Compression.PLAIN
    if start.startswith(_GZIP_DEFLATE):
        return Compression.GZIP
    if start.startswith(_ZSTD_FRAME) or int.from_bytes(start[:4], "little") in _ZSTD_SKIPPABLE:
        return Compression.ZSTD
    return Compression.PLAIN


def begins_tar(blob: Blob) -> bool:
    """Whether a tar could begin as `blob` does: with a header, or with the zeros that end an empty one."""
    start = blob.pread(_TAR_HEADER_SIZE, 0)
    return _is_tar_header(start) or not any(start)


def _is_tar_header(block: bytes) -> bool:
    """Whether the checksum that every tar dialect keeps at offset 148 is right."""
    if len(block) < _TAR_HEADER_SIZE:
        return False
    try:
        recorded = int(block[148:156].strip(b" \0"), 8)
    except ValueError:
        return False
    # historic tars summed signed bytes, so both sums are right
    others = block[:148] + b" " * 8 + block[156:]
    return recorded in (sum(others), sum(others) - 256 * sum(byte > 127 for byte in others))
