"""Spans that were verified, in memory and in the cache, shared by all blobs that have the same ones.

In the cache each is a file called by its own digest, and compared with that when it is read: so it does not matter
which layer, image or registry it came from, or which process put it there. Tried by the
tests of `spans`.
"""

from collections.abc import Callable

from imgfs.cache.cache import Cache
from imgfs.digest import Digest
from imgfs.errors import StoreError
from imgfs.lru import LRU
from imgfs.single_flight import SingleFlight

KIND = "span"
"""What the cache calls spans."""
_MEMORY = 32 << 20  # bytes of spans that were used last


class SpanCache:
    """Spans in `cache`, if there is one, and at most `memory` bytes of them in memory. Safe for several threads."""

    def __init__(self, cache: Cache | None, memory: int = _MEMORY) -> None:
        self._cache = cache
        self._recent: LRU[Digest, bytes] = LRU(memory, len)
        self._making: SingleFlight[Digest, bytes] = SingleFlight()

    def recent(self, digest: Digest) -> bytes | None:
        """A span that is in memory, else None. Never blocks."""
        return self._recent.get(digest)

    def find(self, digest: Digest, size: int | None) -> bytes | None:
        """A span of `size` bytes, None for any number of them, that the cache has, else None."""
        file = self._cache.open(digest, KIND) if self._cache is not None else None
        if file is None or self._cache is None:
            return None
        try:
            with file:
                if size not in (None, file.size):  # it may be right for a blob that records another size
                    return None
                data = file.pread(file.size, 0)
        except (OSError, StoreError):
            data = b""
        if not digest.is_of(data):
            self._cache.discard(digest, KIND)
            return None
        self._recent.put(digest, data)
        return data

    def keep(self, digest: Digest, data: bytes) -> None:
        """Keep a span that was compared with its digest."""
        self._recent.put(digest, data)
        if self._cache is not None:
            self._cache.keep(digest, KIND, lambda file: file.write(data))

    def get(self, digest: Digest, make: Callable[[], bytes]) -> bytes:
        """A span that is in memory, else what `make` returns, which threads that want the same span wait for.

        Raises what `make` raises.
        """
        return self._recent.get(digest) or self._making.call(
            digest, lambda: self._recent.get(digest) or make()
        )
