"""The names of the ways in which the bytes of a blob are stored."""

from enum import StrEnum


class Compression(StrEnum):
    """How the bytes of a blob are stored. Indexes of layers keep the names, seek tables the positions."""

    PLAIN = "plain"
    GZIP = "gzip"
    ZSTD = "zstd"
    XZ = "xz"
    BZIP2 = "bzip2"
