"""Tables of a SquashFS image: records end to end, cut into metadata blocks, which are found by references.

Tried by the tests of `squashfs_plan`.
"""

import struct
from collections.abc import Callable

METADATA = 8192
"""Bytes of records in a metadata block, before which two bytes say how many they are."""
_PLAIN = 0x8000


class Table:
    """Records, kept in whole metadata blocks by `keep`."""

    def __init__(self, keep: Callable[[bytearray], object]) -> None:
        self._keep = keep
        self._filling = bytearray()
        self._blocks = 0

    @property
    def block(self) -> int:
        """Where in the table the metadata block begins that the next record begins in."""
        return self._blocks * (METADATA + 2)

    @property
    def offset(self) -> int:
        """Where in its metadata block the next record begins."""
        return len(self._filling)

    @property
    def reference(self) -> int:
        """Both, as one number."""
        return self.block << 16 | self.offset

    def add(self, record: bytes | bytearray) -> None:
        """Add a record to the end."""
        self._filling += record
        while len(self._filling) >= METADATA:
            self._write(self._filling[:METADATA])
            del self._filling[:METADATA]

    def finish(self) -> None:
        """End adding."""
        if self._filling:
            self._write(self._filling)

    def _write(self, block: bytearray) -> None:
        self._keep(bytearray(struct.pack("<H", len(block) | _PLAIN)) + block)
        self._blocks += 1


def block_starts(size: int, start: int) -> bytes:
    """The places of the metadata blocks that `size` bytes of records fill, of which the first is at `start`."""
    starts = range(start, start + -(-size // METADATA) * (METADATA + 2), METADATA + 2)
    return struct.pack(f"<{len(starts)}Q", *starts)
