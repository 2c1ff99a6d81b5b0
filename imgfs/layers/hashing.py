"""Digests, and checksums of blocks: of bytes as they pass by, or of a whole blob beside its decoder."""

import hashlib
from collections.abc import Callable
from threading import Condition, Thread
from typing import Self

from imgfs.blob import Blob, blob_chunks
from imgfs.blob.checked import Checksums
from imgfs.digest import Digest

HASHED_SIZE = 256 << 10  # bytes; read and hashed while it is in the processor's cache
_LEAD = 16 << 20  # stored bytes read before the decoder needs them: it finds them in the page cache
_STRIDE = 4 << 20  # stored bytes hashed at a time, so that the decoder is seldom held up


class Hashes:
    """The digest, by `algorithm`, of bytes that pass by, and the checksums of their blocks."""

    def __init__(self, algorithm: str = "sha256") -> None:
        self.algorithm = algorithm
        self._sha = hashlib.new(algorithm)
        self._checksums = Checksums()

    def update(self, data: bytes | memoryview) -> None:
        """Add the next bytes."""
        self._sha.update(data)
        self._checksums.update(data)

    def finish(self) -> tuple[Digest, bytes]:
        """The digest, and the checksums as `Checksums` gives them."""
        return Digest(f"{self.algorithm}:{self._sha.hexdigest()}"), self._checksums.finish()


def digest_of(blob: Blob, algorithm: str, advance: Callable[[int], None] = lambda _: None) -> Digest:
    """The digest of a whole blob; `advance` takes the bytes read since. Raises what reading raises."""
    sha = hashlib.new(algorithm)
    for chunk in blob_chunks(blob):
        sha.update(chunk)
        advance(len(chunk))
    return Digest(f"{algorithm}:{sha.hexdigest()}")


class StoredHasher:
    """Hashes a whole blob, never far ahead of its decoder. A context manager.

    A decoder need not read all bytes, nor in order, so they cannot be hashed as the decoder reads them. With `apart`,
    a thread hashes, a little ahead of the decoder; else the caller of `catch_up` does, and not ahead, as it must not
    wait for bytes that the decoder does not need yet.
    """

    def __init__(self, blob: Blob, *, apart: bool, algorithm: str = "sha256") -> None:
        self._chunks = blob_chunks(blob, HASHED_SIZE)
        self._hashes = Hashes(algorithm)
        self._hashed = 0
        self._allowed: float = _LEAD if apart else 0
        self._awaited = 0  # what must be allowed before the thread goes on
        self._changed = Condition()
        self._stopped = False
        self._error: Exception | None = None
        self._thread = Thread(target=self._run, name="imgfs hashing", daemon=True) if apart else None

    def __enter__(self) -> Self:
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped = True
        self._join()

    def advance(self, count: float) -> None:
        """Report that the decoder has read that many bytes more. From any thread."""
        with self._changed:
            self._allowed += count
            if self._allowed >= self._awaited:
                self._changed.notify()

    def catch_up(self) -> None:
        """Hash what the decoder has read, unless a thread does. Raises what reading raises."""
        if not self._thread:
            self._hash()

    def finish(self) -> tuple[Digest, bytes]:
        """Return what `Hashes.finish` does, once the decoder is done. Raises what reading raised."""
        self._join()
        self.catch_up()
        if self._error is not None:
            raise self._error
        return self._hashes.finish()

    def _join(self) -> None:
        self.advance(float("inf"))
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        try:
            while self._hash():
                with self._changed:
                    self._awaited = self._hashed + _STRIDE
                    self._changed.wait_for(lambda: self._allowed >= self._awaited)
        except Exception as error:  # raised again where the result is asked for
            self._error = error

    def _hash(self) -> bool:
        """Hash as far as is allowed; False once everything is hashed."""
        while self._hashed + HASHED_SIZE <= self._allowed:
            if self._stopped or (chunk := next(self._chunks, None)) is None:
                return False
            self._hashes.update(chunk)
            self._hashed += len(chunk)
        return True
