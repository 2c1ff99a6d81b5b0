"""The pass over a layer's stored bytes that makes its index.

Decodes in order, hashes what is stored and what is decoded, scans headers, and passes the decoded bytes on. Knows
nothing of caches or of readers. Decoding runs in its own thread, a little ahead; the rest takes about as long.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from queue import Queue
from threading import Event, Thread
from typing import Generic, Self, TypeVar

from imgfs.blob import Blob, WatchedBlob, blob_chunks
from imgfs.budget import check_decoded
from imgfs.codec import Compression, SeekTable, SpanTable
from imgfs.codec.span_hasher import SpanHasher, Spans
from imgfs.codec.span_map import pack_map
from imgfs.digest import Digest
from imgfs.errors import Corrupt, ImgfsError, StoreError, TooMuch, describe, is_shortage
from imgfs.layers.hashing import HASHED_SIZE, StoredHasher
from imgfs.layers.index_comparison import SpanComparison
from imgfs.layers.index_file import IndexData, IndexHeader
from imgfs.layers.member_digests import FileDigests
from imgfs.layers.passing_tar import ANY_LENGTH, InnerTars, PassingTar

_DECODED_AHEAD = 16  # chunks; more than rapidgzip decodes at a time, so that it need not wait for the hashing

Take = Callable[[bytes | memoryview], None]

_Item = TypeVar("_Item")


def _has_idle_cores() -> bool:
    """Whether there is a core for a third thread, beside decoding and what is done with what was decoded."""
    return len(os.sched_getaffinity(0)) > 2


@contextmanager
def naming_shortage(name: str) -> Iterator[None]:
    """Raise StoreError naming what was being indexed if the system has no memory or no thread left for it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_shortage(error):
            raise StoreError(f"{describe(error)} to index {name}") from None
        raise


class Cancelled(ImgfsError):
    """The pass was cancelled."""


class IndexPass:
    """A pass over `blob`, which the caller closes. `scanner` may be read while the pass runs.

    Damage of the tar is in the header that it finds, and logged unless the caller `reports_damage` itself. Tars inside
    it are learnt of, too, if `inner` is given. Members whose names are longer than `longest_name` bytes are not listed.
    `with_spans` the digests of spans and of regular files are found, which takes hashing all decoded bytes again. Spans
    that are `expected` are compared with the decoded bytes.
    """

    def __init__(
        self,
        blob: Blob,
        compression: Compression,
        name: str,
        algorithms: tuple[str, str] = ("sha256", "sha256"),
        *,
        reports_damage: bool = False,
        inner: InnerTars | None = None,
        longest_name: int = ANY_LENGTH,
        with_spans: bool = False,
        expected: SpanTable | None = None,
    ) -> None:
        self._blob = blob
        self._with_spans = with_spans
        self._files = FileDigests() if with_spans else None
        self._comparison = SpanComparison(expected, name) if expected is not None else None
        self._compression = compression
        self._name = name
        self._cancelled = Event()
        self._algorithm, self._tar_algorithm = algorithms
        self._tar = PassingTar(
            blob.size, name, self._tar_algorithm, reports_damage=reports_damage, longest_name=longest_name
        )
        self._inner = inner
        self.scanner = self._tar.scanner

    def run(self, take: Take) -> IndexData:
        """Run the pass; `take` is called with all decoded bytes in order, after they were scanned.

        Raises Corrupt if the stored bytes do not decode, StoreError if there is not enough memory, Cancelled, and what
        reading raises.
        """
        with naming_shortage(self._name):
            return self._run(take)

    def _run(self, take: Take) -> IndexData:
        if self._compression is Compression.PLAIN:
            stored_sha, hasher = hashlib.new(self._algorithm), SpanHasher()
            self._follow(self._plain_chunks(stored_sha, hasher), take)
            diff_id, plain_checksums, members = self._tar.finish()
            is_same = diff_id.algorithm == self._algorithm
            stored_digest = diff_id if is_same else Digest(f"{self._algorithm}:{stored_sha.hexdigest()}")
            stored_checksums = plain_checksums
            spans, windows = pack_map(None, hasher.finish() if self._with_spans else None), b""
        else:
            with StoredHasher(self._blob, apart=_has_idle_cores(), algorithm=self._algorithm) as stored:
                table, found = self._decode(stored, take)
                spans = pack_map(table, found if self._with_spans else None)
                windows = table.windows.pread(table.windows.size, 0)
                stored_digest, stored_checksums = stored.finish()
            diff_id, plain_checksums, members = self._tar.finish()
        header = IndexHeader(
            compression=self._compression,
            stored_digest=stored_digest,
            stored_size=self._blob.size,
            diff_id=diff_id,
            size=self._tar.size,
            ending=self.scanner.ending,
            damage=self._tar.damage,
        )
        sections = {
            "stored": stored_checksums,
            "plain": plain_checksums,
            "spans": spans,
            "windows": windows,
            "members": members,
            "files": self._files.finish() if self._files is not None else b"",
        }
        return IndexData(header, sections)

    def _plain_chunks(self, stored_sha: "hashlib._Hash", hasher: SpanHasher) -> Iterator[bytes]:
        """The stored bytes, hashed on the way if the diff ID is of another algorithm than their digest."""
        for chunk in blob_chunks(self._blob, HASHED_SIZE):
            if self._tar_algorithm != self._algorithm:
                stored_sha.update(chunk)
            if self._with_spans:
                hasher.update(chunk)
            yield chunk

    def cancel(self) -> None:
        """Make `run` stop soon, unless everything is decoded: then so little is left that it is done."""
        self._cancelled.set()

    def _decode(self, stored: StoredHasher, take: Take) -> tuple[SeekTable, Spans]:
        with ExitStack() as stack:
            watched = WatchedBlob(self._blob, stored.advance)
            codec = self._compression.codec
            decoding = stack.enter_context(codec.decode_pass(watched, with_spans=self._with_spans))

            def take_and_give_back(chunk: bytes | memoryview) -> None:
                take(chunk)
                decoding.give_back(chunk)
                stored.catch_up()

            try:
                prefetched = stack.enter_context(Prefetcher(iter(decoding), _DECODED_AHEAD))
                self._follow(prefetched, take_and_give_back)
            except Corrupt as error:
                raise Corrupt(str(error) if self._name in str(error) else f"{self._name}: {error}") from error
            return decoding.table, decoding.spans

    def _follow(self, chunks: "Prefetcher[bytes | memoryview] | Iterator[bytes]", take: Take) -> None:
        for chunk in chunks:
            if self._cancelled.is_set():
                raise Cancelled(f"{self._name}: indexing was stopped")
            offset = self._tar.size
            try:
                check_decoded(self._name, self._blob.size, offset + len(chunk))
            except TooMuch as error:
                raise Corrupt(str(error)) from None
            members = self._tar.update(chunk)
            if self._comparison is not None:
                self._comparison.update(chunk)
            if self._files is not None:
                self._files.update(members, chunk, offset)
            if self._inner is not None:
                self._inner.update(members, chunk, offset)
            take(chunk)


class Prefetcher(Generic[_Item]):
    """Iterates over `items` in a thread, up to `depth` items ahead of the caller. A context manager; iterated once.

    So decoding and what is done with the decoded bytes each have a core. Raises what `items` raised, in its place.
    Leaving stops the thread and waits until it has ended.
    """

    def __init__(self, items: Iterator[_Item], depth: int) -> None:
        self._items = items
        self._queue: Queue[tuple[_Item] | BaseException | None] = Queue(depth)
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="imgfs decoding", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        while self._thread.is_alive():
            while not self._queue.empty():
                self._queue.get()
            self._thread.join(0.01)

    def __iter__(self) -> Iterator[_Item]:
        while (taken := self._queue.get()) is not None:
            if isinstance(taken, BaseException):
                raise taken
            yield taken[0]

    def _run(self) -> None:
        try:
            for item in self._items:
                self._queue.put((item,))
                if self._stopped.is_set():
                    break
            self._queue.put(None)
        except BaseException as error:  # raised again where the items are taken
            self._queue.put(error)
