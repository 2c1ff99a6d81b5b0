"""The one pass over a layer's stored bytes that learns all there is to know of it.

Decodes in order, hashes what is stored and what is decoded, scans headers, and hands the decoded bytes on. Knows
nothing of caches or threads of readers.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event, Thread

from imgfs.blob import Blob
from imgfs.blob.checked import Checksums
from imgfs.codec import Compression, decode
from imgfs.digest import Digest
from imgfs.errors import Corrupt, ImgfsError
from imgfs.layers.index import Facts, pack_members
from imgfs.tar import Member, Scanner

logger = logging.getLogger("imgfs")

_CHUNK_SIZE = 1 << 20


class Cancelled(ImgfsError):
    """The pass was told to stop."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a pass learnt: the facts, and the sections of the layer's index."""

    facts: Facts
    sections: dict[str, bytes]


class Survey:
    """A pass over `blob`, which stays the caller's. `scanner` and `position` may be looked at while it runs."""

    def __init__(self, blob: Blob, compression: Compression, name: str) -> None:
        self._blob = blob
        self._compression = compression
        self._name = name
        self._cancelled = Event()
        self._members: list[Member] = []
        self._damage = ""
        self.scanner = Scanner()
        self.position = 0

    def run(self, take: Callable[[bytes | memoryview], None]) -> Findings:
        """Do the pass; `take` is called with all decoded bytes in order, after they were scanned.

        Raises Corrupt if the stored bytes do not decode, Cancelled, and what reading raises.
        """
        stored = _StoredHasher(self._blob, self._cancelled)
        plain = _Hashes()
        with ExitStack() as stack:
            stored.start()
            stack.callback(stored.join)
            stack.callback(self._cancelled.set)  # so that a failed pass does not wait for the other half
            decoding = None
            chunks: Iterator[bytes | memoryview] = _chunks(self._blob)
            if self._compression is not Compression.PLAIN:
                decoding = stack.enter_context(decode(self._blob, self._compression))
                chunks = iter(decoding)
            for chunk in chunks:
                if self._cancelled.is_set():
                    raise Cancelled(f"{self._name}: indexing was stopped")
                plain.update(chunk)
                self._scan(chunk)
                self.position += len(chunk)
                take(chunk)
            stored.join()
            points = decoding.table.dump() if decoding else b""
        stored_digest, stored_checksums = stored.finish()
        diff_id, plain_checksums = plain.finish()
        self._finish()
        facts = Facts(
            compression=self._compression,
            stored_digest=stored_digest,
            stored_size=self._blob.size,
            diff_id=diff_id,
            size=self.position,
            ending=self.scanner.ending,
            damage=self._damage,
        )
        sections = {
            "stored": stored_checksums,
            "plain": plain_checksums,
            "points": points,
            "members": pack_members(self._members),
        }
        return Findings(facts, sections)

    def cancel(self) -> None:
        """Make `run` stop soon."""
        self._cancelled.set()

    def _scan(self, chunk: bytes | memoryview) -> None:
        if self._damage:
            return
        try:
            self._members += self.scanner.feed(chunk)
        except Corrupt as error:
            self._broken(error)

    def _finish(self) -> None:
        if not self._damage:
            try:
                self.scanner.finish()
            except Corrupt as error:
                self._broken(error)

    def _broken(self, error: Corrupt) -> None:
        self._damage = str(error)
        logger.warning("%s: not all of its members can be read: %s", self._name, error)


class _Hashes:
    """The sha256 of bytes that come by, and the checksums of their blocks."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._checksums = Checksums()

    def update(self, data: bytes | memoryview) -> None:
        self._sha.update(data)
        self._checksums.update(data)

    def finish(self) -> tuple[Digest, bytes]:
        return Digest.from_hex(self._sha.hexdigest()), self._checksums.finish()


class _StoredHasher(Thread):
    """Hashes the stored bytes beside the decoder, which may not read them in order."""

    def __init__(self, blob: Blob, cancelled: Event) -> None:
        super().__init__(name="imgfs hashing", daemon=True)
        self._blob = blob
        self._cancelled = cancelled
        self._hashes = _Hashes()
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            for chunk in _chunks(self._blob):
                if self._cancelled.is_set():
                    return
                self._hashes.update(chunk)
        except Exception as error:  # raised again where the result is asked for
            self._error = error

    def finish(self) -> tuple[Digest, bytes]:
        if self._error is not None:
            raise self._error
        return self._hashes.finish()


def _chunks(blob: Blob) -> Iterator[bytes]:
    offset = 0
    while chunk := blob.pread(_CHUNK_SIZE, offset):
        yield chunk
        offset += len(chunk)
