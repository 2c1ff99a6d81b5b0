"""A range of another blob, such as a member of an archive."""

from imgfs.blob.blob import Blob
from imgfs.errors import Corrupt


class Slice(Blob):
    """`size` bytes of `blob` from `offset`; closing it closes `blob`.

    Raises Corrupt if the range does not lie inside the blob.
    """

    def __init__(self, blob: Blob, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > blob.size:
            raise Corrupt(f"range {offset}+{size} lies outside its {blob.size} bytes")
        self.blob = blob
        self.offset = offset
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    def pread(self, size: int, offset: int) -> bytes:
        size = min(size, self._size - offset)
        return self.blob.pread(size, self.offset + offset) if size > 0 else b""

    def try_pread(self, size: int, offset: int) -> bytes | None:
        size = min(size, self._size - offset)
        return self.blob.try_pread(size, self.offset + offset) if size > 0 else b""

    def close(self) -> None:
        self.blob.close()

    def try_close(self) -> bool:
        return self.blob.try_close()
