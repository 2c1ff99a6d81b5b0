"""Every compression that imgfs reads. A further one is its file, and a line here."""

from enum import StrEnum

from imgfs.codec.codec import Codec
from imgfs.codec.gzip import Gzip
from imgfs.codec.xz_bzip2 import Bzip2, Xz
from imgfs.codec.zstd import Zstd


class Compression(StrEnum):
    """How the bytes of a blob are stored. Layer indexes keep the names."""

    _codec: Codec | None

    def __new__(cls, name: str, codec: Codec | None = None) -> "Compression":
        member = str.__new__(cls, name)
        member._value_ = name
        member._codec = codec
        return member

    PLAIN = "plain"
    GZIP = "gzip", Gzip()
    ZSTD = "zstd", Zstd()
    XZ = "xz", Xz()
    BZIP2 = "bzip2", Bzip2()

    @property
    def codec(self) -> Codec:
        """What decodes it. Raises ValueError for PLAIN."""
        if self._codec is None:
            raise ValueError("a blob that is not compressed has no codec")
        return self._codec
