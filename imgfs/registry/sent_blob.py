"""A blob while it is sent to a registry: read front to back, hashed on the way, and again from where that wants it.

Tried by the tests of pushing.
"""

import hashlib
from collections.abc import Callable

from imgfs.blob import Blob
from imgfs.digest import Digest
from imgfs.errors import Corrupt, StoreError, describe


class SentBlob(Blob):
    """`blob`, whose bytes up to `hashed` were read and hashed; `advance` is called with the number of new ones.

    Raises Corrupt where it is shorter than it said, StoreError where it cannot be read, which is not the registry's.
    """

    def __init__(self, digest: Digest, blob: Blob, advance: Callable[[int], None]) -> None:
        self.digest = digest
        self.hashed = 0
        self._size = blob.size
        self._blob = blob
        self._advance = advance
        self._hash = hashlib.new(digest.algorithm)

    @property
    def size(self) -> int:
        return self._size

    def pread(self, size: int, offset: int) -> bytes:
        size = max(0, min(size, self.size - offset))
        try:
            data = self._blob.pread(size, offset)
        except OSError as error:
            raise StoreError(f"blob {self.digest}: {describe(error)}") from error
        if len(data) < size:
            raise Corrupt(f"blob {self.digest}: ends at {offset + len(data)} of {self.size} bytes")
        new = offset + len(data) - self.hashed
        if offset <= self.hashed and new > 0:
            self._hash.update(memoryview(data)[-new:])
            self.hashed += new
        self._advance(max(new, 0) if offset <= self.hashed else 0)
        return data

    def check(self) -> None:
        """Raises Corrupt if all was read and has another digest."""
        if self.hashed == self.size and self._hash.hexdigest() != self.digest.hex:
            found = f"its {self.size} bytes are {self.digest.algorithm}:{self._hash.hexdigest()}"
            raise Corrupt(f"blob {self.digest}: failed to verify, {found}")
