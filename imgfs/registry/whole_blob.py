"""A blob of a registry that is fetched whole: from the cache, or as it comes, into a file of the cache.

What is in the cache is verified before it is used, and what is fetched before it is kept.
Tried by the tests of the client.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from threading import Condition, Thread

from imgfs.blob import Blob, blob_chunks
from imgfs.cache.cache import Cache
from imgfs.cache.partial_file import Partial
from imgfs.digest import Digest
from imgfs.errors import Corrupt, StoreError
from imgfs.registry.transport import Limits, RegistryError, Response, Unreachable
from imgfs.registry.tries import OddResponse, Tries

SMALL = 1 << 20
"""Bytes below which a blob is kept in memory, and nothing else is done until it is here."""
KIND = "blob"
"""What the cache calls whole blobs."""


class WholeBlob:
    """The blob `digest` of `size` bytes, which `ask` asks a registry for; `name` is what errors call it."""

    def __init__(
        self,
        digest: Digest,
        size: int,
        name: str,
        ask: Callable[[], Response],
        cache: Cache | None,
        limits: Limits,
    ) -> None:
        """Raises StoreError if there is no place to put it, Corrupt or RegistryError for a small one."""
        self._digest = digest
        self._size = size
        self._name = name
        self._ask = ask
        self._cache = cache
        self._limits = limits
        self._changed = Condition()
        self._memory: bytes | None = None
        self._partial: Partial | None = None
        self._file: Blob | None = None
        self._position = 0
        self._error: Exception | None = None
        self.is_kept = False
        """Whether all of it is here and verified."""
        if self._find():
            return
        if size < SMALL:
            self._fetch_small()
        else:
            self._begin()

    @property
    def failed(self) -> bool:
        """Whether it could not be fetched."""
        return self._error is not None

    def pread(self, size: int, offset: int) -> bytes:
        """Bytes inside the blob as soon as they are here. Raises what fetching raised."""
        if self._memory is not None:
            return self._memory[offset : offset + size]
        if self._file is not None:
            return self._file.pread(size, offset)
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._position >= offset + size)
            if self._error is not None:
                raise type(self._error)(str(self._error)) from self._error
            return os.pread(self._partial.fd, size, offset) if self._partial is not None else b""

    def close(self) -> None:
        """Close what is open; a blob that is still being fetched is dropped."""
        with self._changed:
            partial, self._partial = self._partial, None
            file, self._file = self._file, None
            self._error = self._error or StoreError(f"{self._name}: it was closed")
            self._changed.notify_all()
        if partial is not None and self.is_kept:
            partial.close()
        if file is not None:
            file.close()

    def _find(self) -> bool:
        """Look for it in the cache, verified now."""
        file = self._cache.open(self._digest, KIND) if self._cache is not None else None
        if file is None or self._cache is None:
            return False
        if file.size != self._size:  # it may be right, for an image that records another size
            file.close()
            return False
        found = hashlib.new(self._digest.algorithm)
        for chunk in blob_chunks(file):
            found.update(chunk)
        if found.hexdigest() != self._digest.hex:
            file.close()
            self._cache.discard(self._digest, KIND)
            return False
        self._file, self.is_kept = file, True
        return True

    def _fetch_small(self) -> None:
        data = bytearray(self._size)

        def write(chunk: bytes, position: int) -> None:
            data[position : position + len(chunk)] = chunk

        self._fetch(write)
        self._memory, self.is_kept = bytes(data), True
        if self._cache is not None:
            self._cache.keep(self._digest, KIND, lambda file: file.write(data))

    def _begin(self) -> None:
        partial = self._cache.begin() if self._cache is not None and self._size <= self._cache.limit else None
        if partial is None:
            raise StoreError(
                f"{self._name}: its registry sends no parts of it, and the cache has no room for all of it"
            )
        self._partial = partial
        Thread(target=self._run, args=(partial,), name="imgfs fetching", daemon=True).start()

    def _run(self, partial: Partial) -> None:
        def write(chunk: bytes, position: int) -> None:
            if self._partial is None:
                raise StoreError(f"{self._name}: it was closed")
            os.pwrite(partial.fd, chunk, position)
            with self._changed:
                self._position = max(self._position, position + len(chunk))
                self._changed.notify_all()

        try:
            self._fetch(write)
        except Exception as error:  # raised again where it is read
            with self._changed:
                self._error = error
                self._changed.notify_all()
            partial.close()
            return
        if self._cache is not None:
            self._cache.keep_partial(partial, self._digest, KIND)
        with self._changed:
            self.is_kept = True
            is_closed = self._partial is None
            self._changed.notify_all()
        if is_closed:  # meanwhile
            partial.close()

    def _fetch(self, write: Callable[[bytes, int], None]) -> None:
        """Fetch all of it; `write` is given its bytes and their offset, from the start again after a try that failed.

        Raises RegistryError, Corrupt, or what `write` raises.
        """
        tries = Tries(self._limits)
        while True:
            found, position = hashlib.new(self._digest.algorithm), 0
            try:
                for chunk in self._chunks():
                    write(chunk, position)
                    found.update(chunk)
                    position += len(chunk)
                break
            except RegistryError as error:
                tries.wait_after(error, position)
        if found.hexdigest() != self._digest.hex:
            raise Corrupt(f"{self._name}: failed to verify, what was sent is another blob")

    def _chunks(self) -> Iterator[bytes]:
        """What the registry sends of it, `size` bytes. Raises RegistryError."""
        response = self._ask()
        if response.length not in (None, self._size):
            response.close()
            raise OddResponse(f"{self._name}: {response.length} bytes where {self._size} are recorded")
        left = self._size
        try:
            for chunk in response.chunks(left):
                left -= len(chunk)
                yield chunk
        except Unreachable as error:
            raise Unreachable(f"{self._name}: {error}") from None
        if left:
            raise Unreachable(f"{self._name}: it sent {self._size - left} of {self._size} bytes")
