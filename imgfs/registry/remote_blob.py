"""A blob of a registry, of which only the ranges that are read are fetched.

Ranges are not verified here, as a digest covers a whole blob: layers verify what they read. A small blob is fetched
whole, verified and kept in the cache, as is one whose registry sends no ranges.
Tried by the tests of the client.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import Condition, Lock, Thread
from typing import Protocol

from imgfs.blob import Blob, blob_chunks
from imgfs.cache.cache import Cache
from imgfs.cache.partial_file import Partial
from imgfs.digest import Digest
from imgfs.errors import Corrupt, StoreError
from imgfs.registry.read_ahead import ReadAhead
from imgfs.registry.transport import Limits, RegistryError, Response, Unreachable
from imgfs.single_flight import SingleFlight

WHOLE = 1 << 20
"""Bytes below which a blob is fetched whole."""
KIND = "blob"
"""What the cache calls whole blobs."""

_SKIPPED = 1 << 20  # bytes that are read and dropped before those that were asked for
_NO_RANGES = 60.0  # seconds for which a blob is taken to be sent whole only
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_TRIES = 4  # ways of getting one range
_PROGRESS = 256 << 10  # bytes of it, with which a try that broke off does not count as a failure


class Ask(Protocol):
    """Asks for a blob, or if `wanted` is not None, for that `Range` of it; raises RegistryError naming the blob."""

    def __call__(self, wanted: str | None) -> Response: ...


class RemoteBlob(Blob):
    """The blob `digest` of `size` bytes, which `ask` asks a registry for; `name` is what errors call it.

    Reading raises RegistryError, or Corrupt where a blob that came whole is another one.
    """

    is_remote = True

    def __init__(
        self, digest: Digest, size: int, name: str, ask: Ask, cache: Cache | None, limits: Limits
    ) -> None:
        self.digest = digest
        self.name = name
        self._size = size
        self._ask = ask
        self._cache = cache
        self._limits = limits
        self._ahead = ReadAhead(size, self._range)
        self._opening: SingleFlight[None, _Whole] = SingleFlight()
        self._lock = Lock()  # of what follows; never held while reading
        self._is_closed = False
        self._whole: _Whole | None = None
        self._whole_until = 0.0

    @property
    def size(self) -> int:
        return self._size

    def pread(self, size: int, offset: int) -> bytes:
        size = min(size, self._size - offset)
        if size <= 0:
            return b""
        if self._size < WHOLE or self._is_whole_only:
            return self._open_whole().pread(size, offset)
        return self._ahead.pread(size, offset)

    def close(self) -> None:
        self._ahead.close()
        with self._lock:
            self._is_closed = True
            whole, self._whole = self._whole, None
        if whole is not None:
            whole.close()

    @property
    def _is_whole_only(self) -> bool:
        return self._whole is not None and (self._whole.is_kept or time.monotonic() < self._whole_until)

    def _range(self, size: int, offset: int) -> bytes:
        """Bytes that lie inside the blob; a range that breaks off is fetched from there on."""
        parts: list[bytes] = []
        left, start = size, offset
        failures, begun, begun_at = 0, time.monotonic(), offset
        while True:
            try:
                for chunk in self._ranged(left, start):
                    parts.append(chunk)
                    start += len(chunk)
                    left -= len(chunk)
                if not left:
                    return b"".join(parts)
                raise RegistryError(f"{self.name}: it sent {size - left} of {size} bytes")
            except _SentWhole:
                with self._lock:
                    self._whole_until = time.monotonic() + _NO_RANGES
                return self._open_whole().pread(size, offset)
            except RegistryError as error:
                if start - begun_at >= _PROGRESS:  # a large range over a slow line that breaks now and then
                    failures, begun, begun_at = 0, time.monotonic(), start
                failures += 1
                is_over = failures >= _TRIES or time.monotonic() - begun > self._limits.patience
                if is_over or not isinstance(error, Unreachable | _Odd):
                    raise
                time.sleep(self._limits.pause * 2**failures)

    def _ranged(self, size: int, offset: int) -> Iterator[bytes]:
        """Exactly the bytes asked for, or fewer where the connection breaks off. Raises _SentWhole, RegistryError."""
        response = self._ask(f"bytes={offset}-{offset + size - 1}")
        with ExitStack() as stack:
            stack.callback(response.close)
            skipped = 0
            if response.status == 206:
                self._check_range(response, size, offset)
            else:
                if response.length not in (None, self._size) or "Content-Range" in response.headers:
                    raise _Odd(f"{self.name}: it answers a range with {response.length} bytes")
                if offset > _SKIPPED or (offset + size < self._size and size > _SKIPPED):
                    raise _SentWhole
                skipped = offset
            try:
                for chunk in response.chunks(skipped + size):
                    taken = chunk[skipped:]
                    skipped -= len(chunk) - len(taken)
                    if taken:
                        yield taken
            except Unreachable as error:
                raise Unreachable(f"{self.name}: {error}") from None
            stack.pop_all()

    def _check_range(self, response: Response, size: int, offset: int) -> None:
        stated = response.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(stated.strip())
        wanted = (offset, offset + size - 1, self._size)
        if match is None or tuple(map(int, match.groups())) != wanted or response.length not in (None, size):
            raise _Odd(f"{self.name}: it answers a range with another one ({stated[:80]!r})")

    def _open_whole(self) -> "_Whole":
        """The whole blob, being fetched or from the cache."""
        with self._lock:
            whole = self._whole
        return whole if whole is not None and not whole.failed else self._opening.call(None, self._new_whole)

    def _new_whole(self) -> "_Whole":
        with self._lock:
            if self._whole is not None and not self._whole.failed:
                return self._whole
        whole = _Whole(self.digest, self._size, self.name, lambda: self._ask(None), self._cache, self._limits)
        with self._lock:
            is_closed = self._is_closed
            self._whole = None if is_closed else whole
        if is_closed:  # meanwhile
            whole.close()
        return whole


class _SentWhole(Exception):
    """The registry sends the whole blob where a range was asked for."""


class _Odd(RegistryError):
    """A response that is not what was asked for, which another try may mend."""


class _Whole:
    """A whole blob: from the cache, or as it is fetched, by a thread of its own, into a file of the cache.

    What is in the cache is verified before it is used, and what is fetched before it is kept.
    """

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
        if not self._find() and size < WHOLE:
            self._fetch_small()
        elif not self.is_kept:
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
        begun = time.monotonic()
        for attempt in range(1, _TRIES + 1):
            try:
                response = self._ask()
                if response.length not in (None, self._size):
                    response.close()
                    raise _Odd(f"{self._name}: {response.length} bytes where {self._size} are recorded")
                data = b"".join(response.chunks(self._size))
                break
            except (Unreachable, _Odd) as error:
                if self._is_over(attempt, begun):
                    why = str(error)
                    raise type(error)(why if self._name in why else f"{self._name}: {why}") from None
                time.sleep(self._limits.pause * 2**attempt)
        if not self._digest.is_of(data):
            raise Corrupt(f"{self._name}: failed to verify, what was sent is another blob")
        self._memory, self.is_kept = data, True
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
        try:
            self._fetch(partial)
        except Exception as error:  # raised again where it is read
            with self._changed:
                self._error = error
                self._changed.notify_all()
            partial.close()

    def _is_over(self, attempt: int, begun: float) -> bool:
        return attempt >= _TRIES or time.monotonic() - begun > self._limits.patience

    def _fetch(self, partial: Partial) -> None:
        begun, begun_at = time.monotonic(), 0
        for attempt in range(1, _TRIES + 1):
            found = hashlib.new(self._digest.algorithm)
            position = 0
            try:
                response = self._ask()
                for chunk in response.chunks(self._size):
                    if self._partial is None:
                        response.close()
                        raise StoreError(f"{self._name}: it was closed")
                    found.update(chunk)
                    os.pwrite(partial.fd, chunk, position)
                    position += len(chunk)
                    with self._changed:
                        self._position = max(self._position, position)
                        self._changed.notify_all()
                if position < self._size:
                    raise Unreachable(f"it sent {position} of {self._size} bytes")
                break
            except Unreachable as error:
                if position - begun_at >= _PROGRESS:
                    begun, begun_at = time.monotonic(), position
                if self._is_over(attempt, begun):
                    raise Unreachable(f"{self._name}: {str(error).removeprefix(f'{self._name}: ')}") from None
        if found.hexdigest() != self._digest.hex:
            raise Corrupt(f"{self._name}: failed to verify, what was sent is another blob")
        if self._cache is not None:
            self._cache.keep_partial(partial, self._digest, KIND)
        with self._changed:
            self.is_kept = True
            is_closed = self._partial is None
            self._changed.notify_all()
        if is_closed:  # meanwhile
            partial.close()
