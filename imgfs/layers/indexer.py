"""The contents of layers that are in use, each shared by all who use it, and what they have in common.

That is the cache, whose turn it is to decode, and who verifies in the background. What was found wrong is remembered
by the place of the stored bytes: the same bytes may be sound in another.
"""

from collections.abc import Callable, Iterable
from functools import partial
from threading import Lock

from imgfs.blob import Blob
from imgfs.cache.cache import Cache
from imgfs.codec import Compression, SpanCache, SpanStats, detect
from imgfs.codec.spans import UNCOUNTED
from imgfs.layers.background import BackgroundVerifier, Take
from imgfs.layers.content import LayerContent, Place
from imgfs.layers.index_file import IndexHeader
from imgfs.layers.index_pass import IndexPass
from imgfs.layers.index_store import IndexStore
from imgfs.layers.progress import Progress, no_progress
from imgfs.layers.toc_pin import ExternalToc, no_external_toc
from imgfs.layers.turn import Turn
from imgfs.lru import LRU

_REMEMBERED = 1 << 14  # places of which something is remembered


class Indexer:
    """Opens contents of layers; a source has one. Safe to use from several threads; close it at the end.

    Two sources that share an indexer wait for each other when one hangs; sources that share a `turn` wait only for
    a limited time. What has to be waited for while a source is opened is shown by `progress`. `stats` counts spans of
    remote layers, and `fetching` shows passes over them; `with_spans` the indexes of local ones have digests of spans
    and of regular files, too.
    """

    def __init__(
        self,
        cache: Cache,
        turn: Turn | None = None,
        verifier: BackgroundVerifier | None = None,
        progress: Progress = no_progress,
        *,
        stats: SpanStats = UNCOUNTED,
        fetching: Progress = no_progress,
        with_spans: bool = False,
    ) -> None:
        self.indexes = IndexStore(cache)
        self.spans = SpanCache(cache)
        self.stats = stats
        self.fetching = fetching
        self.find_toc: ExternalToc = no_external_toc
        self._with_spans = with_spans
        self.verifier = verifier
        self.progress = progress
        self._turn = turn or Turn()
        self._lock = Lock()  # held while nothing blocks
        self._contents: dict[Place, LayerContent] = {}
        self._users: dict[LayerContent, int] = {}
        self._failures: LRU[Place, str] = LRU(_REMEMBERED)
        self._queued: LRU[Place, bool] = LRU(_REMEMBERED)  # to be verified, or verified

    def serve(self, writers: Iterable[int]) -> None:
        """Use only what the cache has for places that `writers` decide, and those of earlier calls."""
        self.indexes.serve(writers)

    def open(self, place: Place, stored: Blob) -> LayerContent:
        """The content at a place, whose stored bytes were just opened as `stored`; the caller releases it.

        Raises Corrupt if the bytes in this place were found before not to be what is recorded of them.
        """
        with self._lock:
            content = self._contents.get(place)
            if content is None or content.is_broken:
                failure = self._failures.get(place) or ""
                content = LayerContent(
                    place,
                    stored,
                    self.indexes,
                    self._turn,
                    self,
                    failure,
                    spans=self.spans,
                    stats=self.stats,
                    with_spans=self._with_spans,
                    fetching=self.fetching,
                )
                self._contents[place] = content
                self._users[content] = 0
            self._users[content] += 1
        if content.stored is not stored:
            stored.close()
        try:
            content.raise_failure()
            content.look_for_index()
        except BaseException:
            content.release()
            raise
        return content

    def find_in_use(self, place: Place | None) -> LayerContent | None:
        """The content at a place if it is in use, else None; the caller releases it."""
        with self._lock:
            content = self._contents.get(place) if place is not None else None
            if content is not None:
                self._users[content] += 1
            return content

    def acquire(self, content: LayerContent) -> None:
        """Count one more user of a content that is in use."""
        with self._lock:
            self._users[content] += 1

    def release(self, content: LayerContent) -> None:
        """Count one user less; without users, a content is closed."""
        with self._lock:
            self._users[content] -= 1
            if self._users[content]:
                return
            del self._users[content]
            if self._contents.get(content.place) is content:
                del self._contents[content.place]
            if content.failure and not content.place.is_recent:
                self._failures.put(content.place, content.failure)
        content.close()

    def verify_later(self, content: LayerContent, reopen: Callable[[], LayerContent]) -> None:
        """Verify a layer that is not compressed in the background, if that is done at all; `reopen` opens it again."""
        if (
            self.verifier is None
            or content.index is not None
            or content.key.compression is not Compression.PLAIN
            or content.stored.is_remote
        ):
            return
        if not self._queued.get(content.place):
            self._queued.put(content.place, True)
            self.verifier.add(partial(_verify, reopen))

    def learn(self, blob: Blob, name: str, algorithm: str = "sha256") -> IndexHeader:
        """Index stored bytes of which nothing is recorded, and close them. Raises Corrupt if they do not decode.

        `algorithm` is that of the diff ID. Damage of the tar is in the header, and is the caller's to report.
        """
        with blob, self._turn.take() as turn:
            algorithms = "sha256", algorithm
            found = IndexPass(blob, detect(blob), name, algorithms, reports_damage=True)
            data = found.run(lambda _: turn.advance())
        self.indexes.learn(data)
        return data.header

    def forget(self) -> None:
        """Look again for what was not found, and read again what was wrong, as the source has changed."""
        self.indexes.forget()
        self._failures.pop_all()
        self._queued.pop_all()

    def close(self) -> None:
        """Stop the passes that are running and wait until they have ended."""
        with self._lock:
            builds = [build for content in self._users if (build := content.build) is not None]
        for build in builds:
            build.cancel()
        for build in builds:
            build.join()


def _verify(reopen: Callable[[], LayerContent], take: Take) -> None:
    with reopen() as content:
        content.verify(take)
