"""A blob of a registry, of which only the ranges that are read are fetched.

Ranges are not verified here, as a digest covers a whole blob: layers verify what they read. A small blob is fetched
whole, verified and kept in the cache, as is one whose registry sends no ranges.
Tried by the tests of the client.
"""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Lock
from typing import Protocol

from imgfs.blob import Blob
from imgfs.cache.cache import Cache
from imgfs.digest import Digest
from imgfs.registry.read_ahead import ReadAhead
from imgfs.registry.transport import Limits, RegistryError, Response, Unreachable
from imgfs.registry.tries import OddResponse, Tries
from imgfs.registry.whole_blob import SMALL, WholeBlob
from imgfs.single_flight import SingleFlight

_SKIPPED = 1 << 20  # bytes that are read and dropped before those that were asked for
_NO_RANGES = 60.0  # seconds for which a blob is taken to be sent whole only
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


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
        self._opening: SingleFlight[None, WholeBlob] = SingleFlight()
        self._lock = Lock()  # of what follows; never held while reading
        self._is_closed = False
        self._whole: WholeBlob | None = None
        self._whole_until = 0.0

    @property
    def size(self) -> int:
        return self._size

    def pread(self, size: int, offset: int) -> bytes:
        size = min(size, self._size - offset)
        if size <= 0:
            return b""
        if self._size < SMALL or self._is_whole_only:
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
        tries = Tries(self._limits, offset, resumes=True)
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
                tries.wait_after(error, start)

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
                    raise OddResponse(f"{self.name}: it answers a range with {response.length} bytes")
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
            raise OddResponse(f"{self.name}: it answers a range with another one ({stated[:80]!r})")

    def _open_whole(self) -> WholeBlob:
        """The whole blob, being fetched or from the cache."""
        with self._lock:
            whole = self._whole
        return whole if whole is not None and not whole.failed else self._opening.call(None, self._new_whole)

    def _new_whole(self) -> WholeBlob:
        with self._lock:
            if self._whole is not None and not self._whole.failed:
                return self._whole
        whole = WholeBlob(
            self.digest, self._size, self.name, lambda: self._ask(None), self._cache, self._limits
        )
        with self._lock:
            is_closed = self._is_closed
            self._whole = None if is_closed else whole
        if is_closed:  # meanwhile
            whole.close()
        return whole


class _SentWhole(Exception):
    """The registry sends the whole blob where a range was asked for."""
