"""Every compression that imgfs reads. A further one is its file, its name in `Compression`, and a line here."""

from collections.abc import Mapping

from imgfs.codec.codec import Codec
from imgfs.codec.compression import Compression
from imgfs.codec.gzip import Gzip
from imgfs.codec.xz_bzip2 import Bzip2, Xz
from imgfs.codec.zstd import Zstd

CODECS: Mapping[Compression, Codec] = {codec.compression: codec for codec in (Gzip(), Zstd(), Xz(), Bzip2())}
