"""The content of one stored layer, shared by all who read it for as long as one of them does.

It owns the stored bytes, held open so that they stay readable whatever happens to the path they were opened from, the
layer's index, the pass that makes that, and the decoded copy. Knows nothing of the place of a layer in a stack.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import Enum, auto
from threading import RLock
from typing import NamedTuple, Protocol, Self

from imgfs.blob import Blob, WatchedBlob
from imgfs.blob.checked import BLOCK_SIZE, CheckedBlob
from imgfs.blob.stamp import FileStamp
from imgfs.blob.streamed import StreamedBlob
from imgfs.budget import MIB
from imgfs.codec import Compression, SpanBlob, SpanCache, SpanStats
from imgfs.codec.spans import UNCOUNTED, PlainDecoder, PointDecoder
from imgfs.errors import Corrupt, ImgfsError, describe
from imgfs.layers.digest_map import DigestMap, map_digests
from imgfs.layers.index_build import DecodedCopy, IndexBuild
from imgfs.layers.index_comparison import compare_index
from imgfs.layers.index_file import IndexData, IndexHeader, LayerIndex, LayerKey
from imgfs.layers.index_pass import IndexPass, Take, naming_shortage
from imgfs.layers.index_store import UNREADABLE, IndexStore
from imgfs.layers.passing_tar import ANY_LENGTH, InnerTars
from imgfs.layers.progress import Progress, no_progress
from imgfs.layers.trust import Level
from imgfs.layers.turn import Turn
from imgfs.tar import Member

logger = logging.getLogger("imgfs")

_LONGEST_IN_ARCHIVE = 4096  # bytes of a name; no document of an image and no layer has a longer one


class LayerState(Enum):
    """How much is known of a layer's content."""

    UNREAD = auto()
    INDEXING = auto()
    """A pass over the stored bytes is running; if that cannot read them, the layer is unread again."""
    INDEXED = auto()
    """Both digests were right. A pass may be running that makes a decoded copy."""
    FAILED = auto()
    """The stored bytes are not what is recorded of them; `failure` says why, and they are not decoded again."""


class Place(NamedTuple):
    """Where the stored bytes lie: in the file with this stamp, or what opens them, if that is no file of its own.

    What is wrong there need not be wrong where the same bytes lie once more.
    """

    key: LayerKey
    lie_in: FileStamp | Callable[[], Blob]

    @property
    def is_recent(self) -> bool:
        """Whether other bytes may lie there soon without a difference."""
        return isinstance(self.lie_in, FileStamp) and self.lie_in.is_recent


class Users(Protocol):
    """Counts who uses a content, and has it closed when no user is left."""

    def acquire(self, content: "LayerContent") -> None: ...
    def release(self, content: "LayerContent") -> None: ...


class LayerContent:
    """The content at `place`, whose stored bytes are `stored`. A context manager that releases it.

    Public attributes may be read without the lock, which never blocks. `is_broken` is set once the stored bytes could
    not be read, as when their device is gone; then readers that come later open the layer again. A pass over remote
    bytes that no caller shows is shown by `fetching`.
    """

    def __init__(
        self,
        place: Place,
        stored: Blob,
        store: IndexStore,
        turn: Turn,
        users: Users,
        failure: str = "",
        *,
        spans: SpanCache | None = None,
        stats: SpanStats = UNCOUNTED,
        with_spans: bool = False,
        fetching: Progress = no_progress,
    ) -> None:
        self.place = place
        self.key = key = place.key
        self.stored = stored
        self.is_broken = False
        self.failure = failure
        self.state = LayerState.FAILED if failure else LayerState.UNREAD
        self.index: LayerIndex | None = None
        self.size = key.size
        """The size in bytes of the tar, as it is recorded until the layer is indexed; None if it is not known."""
        self.copy: Blob | None = None
        """The decoded bytes, once `find_copy` has found them."""
        self.build: IndexBuild | None = None
        self.is_remote = stored.is_remote
        self._span_cache = spans or SpanCache(None)
        self._stats = stats
        self._with_spans = with_spans or self.is_remote
        self._fetching = fetching
        self._spans: SpanBlob | None = None  # reads `stored` if it is remote, and closes it
        self._store = store
        self._turn = turn
        self._users = users
        self._lock = RLock()  # held while the cache is looked up, never while a pass is waited for

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def release(self) -> None:
        """Stop using it; each user does once. The last one closes it."""
        self._users.release(self)

    def close(self) -> None:
        """Close what it holds open; for `Users` to call."""
        with self._lock:
            copy, self.copy = self.copy, None
            self.index = None
        if copy is not None:
            copy.close()
        (self._spans or self.stored).close()

    def raise_failure(self) -> None:
        """Raise Corrupt if the stored bytes are not what is recorded of them. Never blocks."""
        if self.failure:
            raise Corrupt(self.failure)

    def look_for_index(self) -> LayerIndex | None:
        """The index, looked for in the cache if it is not known; None if the layer is not indexed."""
        if self.state is LayerState.UNREAD:
            with self._lock:
                # remote bytes are only read where they can be verified
                index = self._store.find(self.key, with_spans=self.is_remote)
                if index is not None:
                    self._set_index(index)
        return self.index

    def wait_for_index(
        self, *, with_copy: bool = True, advance: Callable[[int], None] | None = None, to_share: bool = False
    ) -> LayerIndex:
        """The index, made now if the layer was never indexed; `advance` takes the stored bytes read for that.

        An index `to_share` was proved here, and has the digests of spans. Raises Corrupt, or what reading raises.
        """
        self._with_spans |= to_share
        while (index := self.index) is None or (to_share and not _can_be_shared(index)):
            build = self._start(with_copy=with_copy, advance=advance, to_share=to_share)
            if build is not None:
                build.wait()
        return index

    def members(self) -> Sequence[Member]:
        """Every member of the tar, in order. Raises as `wait_for_index` does."""
        index = self.wait_for_index(with_copy=False)
        try:
            return index.members()
        except UNREADABLE as error:
            self._store.discard(self.key, error)
            with self._lock:
                if self.index is index:
                    self.state, self.index = LayerState.UNREAD, None
            return self.wait_for_index(with_copy=False).members()

    def file_digests(self) -> DigestMap | None:
        """The digests of files as the index has them; None if it has none, or the layer is not indexed.

        Of an index that was not proved here, none are returned if one that was is in the cache: the tree may come of
        that. An index that cannot be read is logged.
        """
        index = self.look_for_index()
        if index is None or (index.level is not Level.PROVED and self._store.header(self.key) is not None):
            return None
        try:
            return map_digests(index.members(), index.file_digests())
        except (ImgfsError, OSError) as error:
            logger.warning("%s: its files are read to be compared: %s", self.key.name, describe(error))
            return None

    def follow(self) -> IndexBuild | None:
        """A pass to take decoded bytes from; None if the layer turns out to be indexed, or nothing can be kept.

        Raises Corrupt if the layer failed before.
        """
        build = self.build or self._start()
        if build is None or not self.is_remote:
            return build if build is not None and build.readable else None
        if build.keeps_copy:
            return build
        build.wait()  # the stored bytes are fetched once, and not by a decoder for each reader
        return None

    def copying(self, index: LayerIndex) -> IndexBuild | None:
        """A pass that makes a decoded copy of the indexed layer; None if none can be kept."""
        build = self._start_copy(index)
        return build if build is not None and build.readable else None

    def wait_for_copy(self, index: LayerIndex, advance: Callable[[int], None]) -> None:
        """Make a decoded copy of the indexed layer if one can be kept; `advance` as for `wait_for_index`, which this
        raises as.
        """
        build = self._start_copy(index, advance)
        if build is not None:
            build.wait()

    def verify(self, take: Take) -> None:
        """Index the layer in this thread, beside what others do; `take` is called between chunks. Raises Corrupt."""
        index = self.look_for_index()
        if index is not None and index.level is Level.PROVED:
            return
        self._verify(self.stored, take)

    def verify_again(self, advance: Callable[[int], None]) -> IndexHeader:
        """Read the whole layer, whatever is known of it, and keep its index as one that was proved.

        `advance` takes the stored bytes read since. Raises Corrupt, and what reading raises.
        """
        return self._verify(WatchedBlob(self.stored, advance), lambda _: None)

    def _verify(self, stored: Blob, take: Take) -> IndexHeader:
        try:
            data = self._pass(stored).run(take)
            self._check(data)
        except Corrupt as error:
            self._fail(error)
            raise
        return self._keep(data).header

    def spanned(self, index: LayerIndex) -> Blob | None:
        """The decoded bytes, fetched and verified span by span; None if their digests are not known.

        Not to be closed: it is this object that is.
        """
        with self._lock:
            if self._spans is None and index.spans is not None:
                spans, compression = index.spans, index.header.compression
                is_plain = compression is Compression.PLAIN
                decoder = (
                    PlainDecoder(spans) if is_plain else PointDecoder(compression.codec, index.table, spans)
                )
                name, digest = self.key.name, self.key.digest
                self._spans = SpanBlob(
                    self.stored, spans, decoder, self._span_cache, name, stats=self._stats, digest=digest
                )
            return self._spans

    def checked(self, index: LayerIndex) -> Blob:
        """The stored bytes, each block checked when it is read. Not to be closed: it is this object that is."""
        return CheckedBlob(self.stored, BLOCK_SIZE, index.stored_checksums, self.key.name)

    def find_copy(self, index: LayerIndex) -> Blob | None:
        """The decoded copy, None if none is kept."""
        with self._lock:
            if self.copy is None:
                self.copy = self._store.open_copy(self.key, index)
            return self.copy

    def drop_copy(self) -> None:
        """Stop keeping a decoded copy."""
        with self._lock:
            self._store.discard_copy(self.key)
            self.copy = None  # closed when the last read that uses it has ended

    def give_up_copy(self, copy: Blob) -> None:
        """Drop a decoded copy that turned out to be damaged or evicted, unless another thread has done so."""
        with self._lock:
            if self.copy is copy:
                self.drop_copy()

    def _start(
        self,
        *,
        with_copy: bool = True,
        advance: Callable[[int], None] | None = None,
        to_share: bool = False,
    ) -> IndexBuild | None:
        """The pass that is running, or one that starts now; None if the index turns out to be known."""
        with self._lock:
            if self.index is not None and not to_share:
                return None
            self.raise_failure()
            if self.build is not None:
                return self.build
            index = self.look_for_index()
            if index is not None and (not to_share or _can_be_shared(index)):
                return None
            return self._begin(self._store.begin_copy(self.key) if with_copy else None, advance)

    def _start_copy(
        self, index: LayerIndex, advance: Callable[[int], None] | None = None
    ) -> IndexBuild | None:
        """The pass that is running, or one that makes a copy; None if none can be kept."""
        with self._lock:
            if self.build is not None:
                return self.build
            self.raise_failure()
            copy = self._store.begin_copy(self.key, index.header.size)
            return None if copy is None else self._begin(copy, advance)

    def _begin(self, copy: DecodedCopy | None, advance: Callable[[int], None] | None = None) -> IndexBuild:
        shown = ExitStack()
        if advance is None and self.is_remote and self.key.stored_size >= MIB:
            label = f"layer {(self.key.diff_id or self.key.digest).short}"
            advance = shown.enter_context(self._fetching(label, self.key.stored_size))
        stored = self.stored if advance is None else WatchedBlob(self.stored, advance)

        def finish(data: IndexData, whole: DecodedCopy | None) -> None:
            self._check(data)
            with naming_shortage(self.key.name):
                index = self._keep(data)
            if whole is not None:
                self._store.keep_copy(self.key, whole)
            if copy is not None and self.find_copy(index) is None:
                self._store.note_uncopied(self.key)

        def end(error: Exception | None) -> None:
            shown.close()
            with self._lock:
                self.build = None
                if isinstance(error, Corrupt):
                    self._fail(error)
                elif self.state is LayerState.INDEXING:
                    self.is_broken = error is not None
                    self.state = LayerState.UNREAD
            self.release()

        build = IndexBuild(self._pass(stored), copy, self._turn, finish, end)
        self._users.acquire(self)
        self.build = build
        if self.state is LayerState.UNREAD:
            self.state = LayerState.INDEXING
        build.start()
        return build

    def _check(self, data: IndexData) -> None:
        """Compare what a pass found with what is recorded of the layer, and with its index. Raises Corrupt."""
        self.key.verify(data.header)
        known = self.index
        if known is None:
            return
        if known.header.diff_id != data.header.diff_id:
            raise Corrupt(f"{self.key.name}: it has changed since it was indexed")
        if known.level is not Level.PROVED:
            compare_index(known, data, self.key.name)

    def _pass(self, stored: Blob) -> IndexPass:
        key, known = self.key, self.index
        expected = known.spans if known is not None and known.level is not Level.PROVED else None
        # nothing but the archive itself is lost by its damage, which its reader raises
        is_archive = key.diff_id is None
        inner = InnerTars(key.stored_size, self._store.learn) if is_archive and self.index is None else None
        return IndexPass(
            StreamedBlob(stored) if self.is_remote else stored,
            key.compression,
            key.name,
            key.algorithms,
            reports_damage=is_archive,
            inner=inner,
            longest_name=_LONGEST_IN_ARCHIVE if is_archive else ANY_LENGTH,
            with_spans=self._with_spans,
            expected=expected,
        )

    def _keep(self, data: IndexData) -> LayerIndex:
        index = self._store.keep(self.key, data)
        with self._lock:
            self._set_index(index)
        return index

    def _set_index(self, index: LayerIndex) -> None:
        self.index = index
        self.size = index.header.size
        if self.state is not LayerState.FAILED:
            self.state = LayerState.INDEXED

    def _fail(self, error: Corrupt) -> None:
        with self._lock:
            self.failure = str(error)
            self.state = LayerState.FAILED


def _can_be_shared(index: LayerIndex) -> bool:
    return index.level is Level.PROVED and index.spans is not None
