"""The decoded bytes of a layer in a file of the cache, as they are decoded; zeros take no room on disk."""

import os

from imgfs.cache.cache import Cache
from imgfs.cache.partial_file import Partial

_BLOCK = 64 << 10
_ZEROS = bytes(_BLOCK)
_STEP = 64 << 20  # written bytes after which the cache makes room again


class Copy:
    """Grows at its end and is read anywhere before. One thread appends; none reads it once it is closed."""

    def __init__(self, cache: Cache, partial: Partial) -> None:
        self.partial = partial
        self._cache = cache
        self._size = 0
        self._written = 0

    def append(self, data: bytes | memoryview) -> bool:
        """Take the bytes that come next; False, and the copy is of no more use, if the cache has no room for them."""
        view = memoryview(data)
        try:
            if os.fstat(self.partial.fd).st_size != self._size:
                return False  # somebody has cut it off
            for start in range(0, len(view), _BLOCK):
                block = view[start : start + _BLOCK]
                if _ZEROS.startswith(block):  # compares as memcmp does, unlike ==
                    os.ftruncate(self.partial.fd, self._size + len(block))
                elif os.pwrite(self.partial.fd, block, self._size) < len(block):
                    return False
                else:
                    self._written += len(block)
                self._size += len(block)
        except OSError:
            return False  # the disk is full
        if self._written >= _STEP:
            self._written = 0
            return self._cache.make_room()
        return self._size <= self._cache.limit

    def pread(self, size: int, offset: int) -> bytes | None:
        """Bytes that were appended, or None if somebody has cut them off."""
        data = os.pread(self.partial.fd, size, offset)
        return data if len(data) == min(size, max(self._size - offset, 0)) else None

    def drop(self) -> None:
        """Give its room back at once; it stays to be closed."""
        os.ftruncate(self.partial.fd, 0)

    def close(self) -> None:
        """Let go of it; unless it was kept, it is gone."""
        self.partial.close()
