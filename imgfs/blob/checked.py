"""A blob whose bytes are checked against checksums that were recorded when they were known to be good.

A digest covers a whole blob and cannot be checked by a reader of its middle. A checksum per block can, so a bit that
flipped since is an error, never wrong bytes. CRC-32 detects accidents; it does not protect against an attacker who can
write both the blob and the checksums.
"""

import struct
from collections.abc import Iterable

from isal.isal_zlib import crc32

from imgfs.blob.blob import Blob
from imgfs.blob.wrappers import WrappedBlob
from imgfs.errors import Corrupt

BLOCK_SIZE = 128 << 10
"""The default block size in bytes: a read of any length costs at most two blocks more."""

_CHECKSUM = struct.Struct("<I")


class Checksums:
    """Collects the checksums of a blob's blocks while its bytes stream by, in chunks of any size."""

    def __init__(self, block_size: int = BLOCK_SIZE) -> None:
        self._block_size = block_size
        self._done = bytearray()
        self._crc = 0
        self._filled = 0

    def update(self, chunk: bytes | memoryview) -> None:
        """Take the bytes that come next."""
        view = memoryview(chunk)
        while view:
            part = view[: self._block_size - self._filled]
            self._crc = crc32(part, self._crc)
            self._filled += len(part)
            if self._filled == self._block_size:
                self._end_block()
            view = view[len(part) :]

    def finish(self) -> bytes:
        """The checksums in order, 4 bytes each, little-endian; the last block may be shorter."""
        if self._filled:
            self._end_block()
        return bytes(self._done)

    def _end_block(self) -> None:
        self._done += _CHECKSUM.pack(self._crc)
        self._crc = self._filled = 0


def checksums(chunks: Iterable[bytes | memoryview], block_size: int = BLOCK_SIZE) -> bytes:
    """The checksums of the blob that `chunks` make up; see `Checksums`."""
    collected = Checksums(block_size)
    for chunk in chunks:
        collected.update(chunk)
    return collected.finish()


def checksums_size(size: int, block_size: int = BLOCK_SIZE) -> int:
    """The size in bytes of the checksums of a blob of `size` bytes."""
    return -(-size // block_size) * _CHECKSUM.size


class CheckedBlob(WrappedBlob[Blob]):
    """`blob`, each block of `block_size` bytes checked before any byte of it is returned; closing it closes `blob`.

    `checksums` are those that `Checksums` made; `name` names the blob in errors. Raises Corrupt if there are not as
    many checksums as blocks, and from reads of a block that has changed.
    """

    def __init__(self, blob: Blob, block_size: int, checksums: bytes, name: str) -> None:
        super().__init__(blob)
        self._size = blob.size
        self._block_size = block_size
        self._checksums = checksums
        self._name = name
        if len(checksums) != checksums_size(self._size, block_size):
            raise Corrupt(f"{name}: {self._size} bytes do not fit {len(checksums)} bytes of checksums")

    @property
    def size(self) -> int:
        return self._size

    @property
    def known_size(self) -> int | None:
        return self._size

    def pread(self, size: int, offset: int) -> bytes:
        span = self._span(size, offset)
        return self._checked(self._blob.pread(*span), span, size, offset) if span else b""

    def try_pread(self, size: int, offset: int) -> bytes | None:
        span = self._span(size, offset)
        if not span:
            return b""
        data = self._blob.try_pread(*span)
        return None if data is None else self._checked(data, span, size, offset)

    def _span(self, size: int, offset: int) -> tuple[int, int] | None:
        """Size and offset of the whole blocks that a read touches; None if it touches none."""
        end = min(offset + size, self._size)
        if end <= offset:
            return None
        start = offset - offset % self._block_size
        return min(-(-end // self._block_size) * self._block_size, self._size) - start, start

    def _checked(self, data: bytes, span: tuple[int, int], size: int, offset: int) -> bytes:
        """The bytes asked for, out of whole blocks."""
        expected, start = span
        if len(data) != expected:
            raise Corrupt(f"{self._name}: {len(data)} of {expected} bytes at offset {start}")
        view = memoryview(data)
        first = start // self._block_size
        for position in range(0, expected, self._block_size):
            block = first + position // self._block_size
            (checksum,) = _CHECKSUM.unpack_from(self._checksums, block * _CHECKSUM.size)
            if crc32(view[position : position + self._block_size]) != checksum:
                raise Corrupt(f"{self._name}: bytes at offset {start + position} have changed")
        return data[offset - start : offset - start + size]
