"""Indexes of layers: found in the cache, or built once for all who wait.

One layer is decoded at a time, which already takes every core. What a pass found is believed only if both its
digests are those recorded.
"""

import io
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Lock

from imgfs.blob import Blob, MemoryBlob
from imgfs.blob.checked import BLOCK_SIZE, CheckedBlob
from imgfs.cache.cache import COPY, Cache
from imgfs.cache.partial_file import Partial
from imgfs.codec import Compression, detect
from imgfs.digest import DiffID, Digest
from imgfs.errors import Corrupt, StoreError, describe
from imgfs.layers.background import BackgroundVerifier, Take
from imgfs.layers.building import Building
from imgfs.layers.copy import Copy
from imgfs.layers.index_file import Facts, LayerIndex, read_facts, write_index
from imgfs.layers.survey import Findings, Survey, naming_shortage
from imgfs.layers.turn import Turn
from imgfs.tar import Member

logger = logging.getLogger("imgfs")

_LOADED_SIZE = 64 << 20  # bytes that indexes may take which nobody reads with at the moment
_INDEX = "index"
_UNREADABLE = (Corrupt, StoreError, OSError)
"""What says that an index cannot be read from the cache; then it is made again."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A layer as far as indexing goes: `key` names its stored bytes in the cache, `open_blob` opens them.

    `stored_digest` and `size` are None where they are not recorded. Two subjects are equal if the same is recorded of
    both: of two images that say different things of the same bytes, one lies, and is not to be taken for the other.
    """

    key: Digest
    compression: Compression
    diff_id: DiffID
    stored_size: int
    stored_digest: Digest | None
    size: int | None
    open_blob: Callable[[], Blob] = field(compare=False)

    @property
    def name(self) -> str:
        """How errors and logs call it."""
        blob = f", blob {self.stored_digest}" if self.stored_digest not in (None, self.diff_id) else ""
        return f"layer {self.diff_id}{blob}"

    @property
    def algorithms(self) -> tuple[str, str]:
        """By which the stored bytes and the tar are hashed, for their digests to be compared."""
        return (self.stored_digest or self.diff_id).algorithm, self.diff_id.algorithm

    @property
    def place(self) -> "_Place":
        """One place of its stored bytes: what is wrong there need not be wrong where the same lies once more."""
        return self, self.open_blob


_Place = tuple[Subject, Callable[[], Blob]]


class Indexer:
    """Indexes of all layers in use, kept in `cache`. Safe to use from several threads; close it at the end.

    Two sources that share an indexer wait for each other when one hangs; those that share a `turn` only for so long.
    """

    def __init__(
        self, cache: Cache, turn: Turn | None = None, verifier: BackgroundVerifier | None = None
    ) -> None:
        self._cache = cache
        self._writers: frozenset[int] = frozenset()
        self._verifier = verifier
        self._touched: set[_Place] = set()
        self._turn = turn or Turn()
        self._lock = Lock()  # held while nothing blocks
        self._starting = Lock()  # held while what is to be indexed is opened
        self._sizes: dict[Subject, int | None] = {}  # None where no index was found in the cache
        self._loaded: OrderedDict[Subject, LayerIndex] = OrderedDict()
        self._buildings: dict[_Place, Building] = {}
        self._failures: dict[_Place, str] = {}
        self._uncopied: set[Subject] = set()  # layers of which the cache would not keep a copy

    def serve(self, writers: Iterable[int]) -> None:
        """Note who decides what layers are read from here on, as what the cache has of others' is not for them."""
        self._writers = self._writers.union(writers)
        self._cache = self._cache.of(self._writers)

    def find(self, subject: Subject) -> LayerIndex | None:
        """The layer's index if it was ever built, here or by another process."""
        index = self.loaded(subject)
        if index is None:
            index = self._load(subject)
            if index is not None:
                index = self._remember(subject, index)
        return index

    def loaded(self, subject: Subject) -> LayerIndex | None:
        """The layer's index if it is in memory. Never blocks."""
        with self._lock:
            index = self._loaded.get(subject)
            if index is not None:
                self._loaded.move_to_end(subject)
            return index

    def known_size(self, subject: Subject) -> int | None:
        """The size in bytes of the layer's tar if it is in memory, else None. Never blocks."""
        return self._sizes.get(subject)

    def look_for_size(self, subject: Subject) -> int | None:
        """The size in bytes of the layer's tar, None if it takes indexing; what is found, or not, is remembered."""
        if subject not in self._sizes:
            facts = self._look(subject)
            with self._lock:
                self._sizes.setdefault(subject, facts.size if facts else None)
        return self.known_size(subject)

    def is_indexed(self, subject: Subject) -> bool:
        """Whether there is an index of the layer, here or in the cache."""
        return self.loaded(subject) is not None or self._look(subject) is not None

    def touch(self, subject: Subject) -> None:
        """Note that the layer was opened: one that is read as it lies is verified in the background, if that is done.

        Raises Corrupt if it turned out to be so before.
        """
        self.raise_failure(subject)
        if self._verifier is None or subject.compression is not Compression.PLAIN:
            return
        with self._lock:
            if subject.place in self._touched or subject in self._loaded:
                return
            self._touched.add(subject.place)
        self._verifier.add(partial(self._verify, subject))

    def note_read(self) -> None:
        """Have what is done in the background give way."""
        if self._verifier is not None:
            self._verifier.last_read = time.monotonic()

    def has_failed(self, subject: Subject) -> bool:
        """Whether the layer turned out not to be what its digests say. Never blocks."""
        return bool(self._failures) and subject.place in self._failures

    def raise_failure(self, subject: Subject) -> None:
        """Raise Corrupt if the layer turned out not to be what its digests say. Never blocks."""
        if self.has_failed(subject):
            raise Corrupt(self._failures[subject.place])

    def _verify(self, subject: Subject, take: Take) -> None:
        if self.find(subject) is not None:
            return
        with subject.open_blob() as blob:
            findings = Survey(blob, subject.compression, subject.name).run(take)
        try:
            verify_findings(subject, findings)
        except Corrupt as error:
            with self._lock:
                self._failures[subject.place] = str(error)
            raise
        self._remember(subject, self._keep(subject.key, findings))

    def build(self, subject: Subject, *, with_copy: bool = True) -> Building | None:
        """The pass over the layer that is running, or one that starts now; None if the index turns out to be known.

        `with_copy` lets readers follow it, and keeps what it decodes while the cache has room. Raises Corrupt if the
        layer turned out to be so before: it stays so, and is not decoded again.
        """
        with self._starting:
            return None if self.loaded(subject) else self._join(subject, with_copy=with_copy)

    def follow(self, subject: Subject) -> Building | None:
        """A pass to take decoded bytes from; None if the index turns out to be known, or nothing can be kept.

        Raises as `build` does.
        """
        with self._lock:
            building = self._buildings.get(subject.place)
        if building is None and self.find(subject) is None:
            building = self.build(subject)
        return building if building and building.readable else None

    def index(self, subject: Subject, *, with_copy: bool = True) -> LayerIndex:
        """The layer's index, built now if it never was. Raises Corrupt, or what reading raises."""
        while (index := self.find(subject)) is None:
            building = self.build(subject, with_copy=with_copy)
            if building is not None:
                building.wait()
        return index

    def members(self, subject: Subject) -> Sequence[Member]:
        """Every member of the layer's tar, in order. Raises as `index` does."""
        index = self.index(subject, with_copy=False)
        try:
            return index.members()
        except _UNREADABLE as error:
            self._discard(subject, error)
            with self._lock:
                self._loaded.pop(subject, None)
            return self.index(subject, with_copy=False).members()

    def learn(self, blob: Blob, name: str, algorithm: str = "sha256") -> Facts:
        """Index stored bytes of which nothing is recorded; closes them. Raises Corrupt if they do not decode.

        `algorithm` is that of the diff ID.
        """
        with blob, self._turn.take() as turn:
            findings = Survey(blob, detect(blob), name, ("sha256", algorithm)).run(
                lambda chunk: turn.advance()
            )
        self._keep(Digest(findings.facts.stored_digest), findings)
        return findings.facts

    def copying(self, subject: Subject, index: LayerIndex) -> Building | None:
        """A pass that makes a decoded copy of an indexed layer; None if none can be kept."""
        if index.facts.size > self._cache.limit or subject in self._uncopied:
            return None
        with self._starting:
            building = self._join(subject, with_copy=True, only_for_copy=True)
        return building if building and building.readable else None

    def open_copy(self, subject: Subject, index: LayerIndex) -> Blob | None:
        """The layer's decoded bytes, each block checked as it is read; None if they are not kept."""
        copy = self._cache.open(subject.key, COPY)
        if copy is None:
            return None
        if copy.size != index.facts.size:
            copy.close()
            self.discard_copy(subject)
            return None
        return CheckedBlob(copy, BLOCK_SIZE, index.plain_checksums, f"copy of {subject.name}")

    def discard_copy(self, subject: Subject) -> None:
        """Stop keeping the layer's decoded bytes."""
        self._cache.discard(subject.key, COPY)

    def close(self) -> None:
        """Stop what is running and wait until it has."""
        with self._lock:
            buildings = list(self._buildings.values())
        for building in buildings:
            building.cancel()
        for building in buildings:
            building.join()

    def _join(self, subject: Subject, *, with_copy: bool, only_for_copy: bool = False) -> Building | None:
        """The pass that is running, or one that starts now, but not for a copy that cannot be made."""
        if subject.place in self._failures:
            raise Corrupt(self._failures[subject.place])
        with self._lock:
            building = self._buildings.get(subject.place)
        if building is None:
            partial = self._cache.begin() if with_copy else None
            if partial is None and only_for_copy:
                return None
            building = self._begin(subject, partial)
        return building

    def _begin(self, subject: Subject, partial: Partial | None) -> Building:
        try:
            blob = subject.open_blob()
        except BaseException:
            if partial is not None:
                partial.close()
            raise
        copy = Copy(self._cache, partial) if partial else None

        def finish(findings: Findings, whole: Copy | None) -> None:
            verify_findings(subject, findings)
            with naming_shortage(subject.name):
                index = self._keep(subject.key, findings)
            if whole is not None:
                self._cache.keep_partial(whole.partial, subject.key, COPY)
            if copy is not None and (kept := self.open_copy(subject, index)):
                kept.close()
            elif copy is not None:
                self._uncopied.add(subject)
            self._remember(subject, index)

        def end(error: Exception | None) -> None:
            blob.close()
            with self._lock:
                if isinstance(error, Corrupt):
                    self._failures[subject.place] = str(error)
                del self._buildings[subject.place]

        building = Building(self._survey(subject, blob), copy, self._turn, finish, end)
        with self._lock:
            self._buildings[subject.place] = building
        building.start()
        return building

    def _survey(self, subject: Subject, blob: Blob) -> Survey:
        return Survey(blob, subject.compression, subject.name, subject.algorithms)

    def _keep(self, key: Digest, findings: Findings) -> LayerIndex:
        """Write an index into the cache; what is returned can be used whether that worked or not."""
        written = io.BytesIO()
        write_index(written, findings.facts, findings.sections)
        data = written.getvalue()
        self._cache.keep(key, _INDEX, lambda file: file.write(data))
        file = self._cache.open(key, _INDEX)
        if file is None:
            return LayerIndex(MemoryBlob(data), lambda: MemoryBlob(data))
        file.close()
        return LayerIndex(MemoryBlob(data), lambda: self._reopen(key))

    def _remember(self, subject: Subject, index: LayerIndex) -> LayerIndex:
        """Keep an index in memory; answers the one that is there by now, which all share."""
        with self._lock:
            index = self._loaded.setdefault(subject, index)
            self._sizes[subject] = index.facts.size
            while len(self._loaded) > 1 and sum(i.memory for i in self._loaded.values()) > _LOADED_SIZE:
                self._loaded.popitem(last=False)
            return index

    def _look(self, subject: Subject) -> Facts | None:
        """The facts of the layer's index in the cache, if there is one of this very layer; nothing else is read."""
        file = self._cache.open(subject.key, _INDEX)
        if file is None:
            return None
        try:
            with file:
                facts = read_facts(file)
        except _UNREADABLE as error:
            self._discard(subject, error)
            return None
        return facts if _are_of(facts, subject) else None

    def _load(self, subject: Subject) -> LayerIndex | None:
        """The index in the cache, if there is one that is whole and of this very layer."""
        file = self._cache.open(subject.key, _INDEX)
        if file is None:
            return None
        try:
            with file:
                # one of another layer may be right all the same, and the image wrong
                is_of = _are_of(read_facts(file), subject)
                return LayerIndex(file, lambda: self._reopen(subject.key)) if is_of else None
        except _UNREADABLE as error:
            self._discard(subject, error)
            return None

    def _reopen(self, key: Digest) -> Blob:
        file = self._cache.open(key, _INDEX)
        if file is None:
            raise Corrupt("layer index: is not in the cache any more")
        return file

    def _discard(self, subject: Subject, error: Exception) -> None:
        logger.info("%s: its index is made again: %s", subject.name, describe(error))
        self._cache.discard(subject.key, _INDEX)


def _are_of(facts: Facts, subject: Subject) -> bool:
    return facts.are_of(subject.compression, subject.diff_id, subject.stored_size, subject.size)


def verify_findings(subject: Subject, findings: Findings) -> None:
    """Compare what a pass found with what is recorded. Raises Corrupt."""
    facts = findings.facts
    if facts.diff_id != subject.diff_id:
        raise Corrupt(f"{subject.name}: failed to verify, it decodes to {facts.diff_id}")
    if subject.stored_digest not in (None, facts.stored_digest):
        raise Corrupt(f"{subject.name}: failed to verify, its stored bytes are {facts.stored_digest}")
    if subject.size not in (None, facts.size):
        raise Corrupt(f"{subject.name}: it decodes to {facts.size} bytes where {subject.size} are recorded")
