"""Which compression a blob is stored in, recognised by its first bytes.

Media types and file names can be wrong; magic numbers are not. A tar may begin with any bytes, those of its first
member's name, so a valid tar header takes precedence.
"""

from imgfs.blob import Blob
from imgfs.codec.compression import Compression

_TAR_HEADER_SIZE = 512
_OTHER_MAGIC = {
    b"LZIP": "lzip",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x5d\0\0": "lzma",
    b"\x1f\x9d": "compress",
    b"\x89LZO\0": "lzop",
    b"\xff\x06\0\0sNaPpY": "snappy",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
}
_COMPRESSED = [compression for compression in Compression if compression is not Compression.PLAIN]


def detect(blob: Blob) -> Compression:
    """The compression of `blob`; PLAIN for an empty one and for what is not recognised.

    Raises what `pread` raises.
    """
    start = blob.pread(_TAR_HEADER_SIZE, 0)
    if not _is_tar_header(start):
        for compression in _COMPRESSED:
            if compression.codec.begins(start):
                return compression
    return Compression.PLAIN


def begins_tar(blob: Blob) -> bool:
    """Whether a tar could begin as `blob` does: with a header, or with the zeros that end an empty one."""
    start = blob.pread(_TAR_HEADER_SIZE, 0)
    return _is_tar_header(start) or not any(start)


def describe_unread(blob: Blob) -> str:
    """What a blob that is neither a tar nor compressed in a known way begins as, for errors."""
    start = blob.pread(_TAR_HEADER_SIZE, 0)
    known = ", ".join(_COMPRESSED)
    for magic, name in _OTHER_MAGIC.items():
        if start.startswith(magic):
            return f"{name}-compressed; imgfs reads {known}"
    return f"neither a tar nor compressed as {known}"


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
