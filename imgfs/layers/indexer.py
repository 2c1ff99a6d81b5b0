"""Indexes of layers: found in the cache, or built once for all who wait.

One layer is decoded at a time, which already takes every core. What a pass found is believed only if both its
digests are those recorded.
"""

import io
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from imgfs.blob import Blob, MemoryBlob
from imgfs.blob.checked import BLOCK_SIZE, CheckedBlob
from imgfs.codec import Compression, detect
from imgfs.digest import DiffID, Digest
from imgfs.errors import Corrupt
from imgfs.layers.building import Building
from imgfs.layers.cache import Cache, Partial
from imgfs.layers.index import Facts, LayerIndex, write_index
from imgfs.layers.survey import Findings, Survey

logger = logging.getLogger("imgfs")

_LOADED = 256  # indexes kept open; each takes as much memory as its seek table
_INDEX, _COPY = "index", "copy"


@dataclass(frozen=True, slots=True)
class Subject:
    """A layer as far as indexing goes: `key` names its stored bytes in the cache, `open_blob` opens them.

    `stored_digest` and `size` are None where they are not recorded.
    """

    key: Digest
    compression: Compression
    diff_id: DiffID
    stored_size: int
    stored_digest: Digest | None
    size: int | None
    open_blob: Callable[[], Blob]

    @property
    def name(self) -> str:
        """How errors and logs call it."""
        blob = f", blob {self.stored_digest}" if self.stored_digest not in (None, self.diff_id) else ""
        return f"layer {self.diff_id}{blob}"


class Indexer:
    """Indexes of all layers in use, kept in `cache`. Safe to use from several threads; close it at the end."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._lock = Lock()
        self._turn = Lock()
        self._loaded: OrderedDict[Digest, LayerIndex] = OrderedDict()
        self._buildings: dict[Digest, Building] = {}

    def find(self, subject: Subject) -> LayerIndex | None:
        """The layer's index if it was ever built, here or by another process."""
        index = self.loaded(subject)
        if index is None:
            index = self._load(subject)
            if index is not None:
                self._remember(subject.key, index)
        return index

    def loaded(self, subject: Subject) -> LayerIndex | None:
        """The layer's index if it is in memory. Never blocks."""
        with self._lock:
            index = self._loaded.get(subject.key)
            if index is not None:
                self._loaded.move_to_end(subject.key)
            return index

    def build(self, subject: Subject, *, with_copy: bool = True) -> Building:
        """The pass over the layer that is running, or ran and failed, or one that starts now.

        `with_copy` lets readers follow it, and keeps what it decodes while the cache has room.
        """
        with self._lock:
            building = self._buildings.get(subject.key)
            if building is None:
                copy = self._cache.begin() if with_copy else None
                building = self._buildings[subject.key] = self._begin(subject, copy)
            return building

    def index(self, subject: Subject, *, with_copy: bool = True) -> LayerIndex:
        """The layer's index, built now if it never was. Raises Corrupt, or what reading raises."""
        while (index := self.find(subject)) is None:
            self.build(subject, with_copy=with_copy).wait()
        return index

    def learn(self, blob: Blob, name: str) -> Facts:
        """Index stored bytes of which nothing is recorded; closes them. Raises Corrupt if they do not decode."""
        with blob, self._turn:
            findings = Survey(blob, detect(blob), name).run(lambda chunk: None)
        written = io.BytesIO()
        write_index(written, findings.facts, findings.sections)
        self._cache.keep(
            Digest(findings.facts.stored_digest), _INDEX, lambda file: file.write(written.getvalue())
        )
        return findings.facts

    def copying(self, subject: Subject, index: LayerIndex) -> Building | None:
        """A pass that makes a decoded copy of an indexed layer; None if none can be kept."""
        if index.facts.size > self._cache.limit:
            return None
        building = self.build(subject)
        return building if building.readable else None

    def open_copy(self, subject: Subject, index: LayerIndex) -> Blob | None:
        """The layer's decoded bytes, each block checked as it is read; None if they are not kept."""
        copy = self._cache.open(subject.key, _COPY)
        if copy is None:
            return None
        if copy.size != index.facts.size:
            copy.close()
            self.discard_copy(subject)
            return None
        return CheckedBlob(copy, BLOCK_SIZE, index.plain_checksums, f"copy of {subject.name}")

    def discard_copy(self, subject: Subject) -> None:
        """Stop keeping the layer's decoded bytes."""
        self._cache.discard(subject.key, _COPY)

    def close(self) -> None:
        """Stop what is running and wait until it has."""
        with self._lock:
            buildings = list(self._buildings.values())
        for building in buildings:
            building.cancel()

    def _begin(self, subject: Subject, copy: Partial | None) -> Building:
        try:
            blob = subject.open_blob()
        except BaseException:
            if copy is not None:
                copy.close()
            raise
        survey = Survey(blob, subject.compression, subject.name)

        def finish(findings: Findings, copied: bool) -> None:
            verify_findings(subject, findings)
            self._keep(subject, findings, copy if copied else None)

        def end(error: Exception | None) -> None:
            blob.close()
            if copy is not None:
                copy.close()
            if not isinstance(error, Corrupt):  # what is corrupt stays so, and is not decoded again
                with self._lock:
                    del self._buildings[subject.key]

        building = Building(survey, copy, self._cache.limit, self._turn, finish, end)
        building.start()
        return building

    def _keep(self, subject: Subject, findings: Findings, copy: Partial | None) -> None:
        written = io.BytesIO()
        write_index(written, findings.facts, findings.sections)
        data = written.getvalue()
        self._cache.keep(subject.key, _INDEX, lambda file: file.write(data))
        index = self._load(subject) or LayerIndex(MemoryBlob(data))
        if copy is not None:
            self._cache.keep_partial(copy, subject.key, _COPY)
        self._remember(subject.key, index)

    def _remember(self, key: Digest, index: LayerIndex) -> None:
        with self._lock:
            self._loaded[key] = index
            if len(self._loaded) > _LOADED:
                self._loaded.popitem(last=False)

    def _load(self, subject: Subject) -> LayerIndex | None:
        """The index in the cache, if there is one that is whole and of this very layer."""
        file = self._cache.open(subject.key, _INDEX)
        if file is None:
            return None
        try:
            index = LayerIndex(file)
            facts = index.facts
            if (facts.compression, facts.diff_id, facts.stored_size) != (
                subject.compression,
                subject.diff_id,
                subject.stored_size,
            ):
                raise Corrupt("of another layer")
            if subject.compression is not Compression.PLAIN:
                _ = index.table
            _ = index.stored_checksums, index.plain_checksums
        except Corrupt as error:
            logger.info("%s: its index is made anew: %s", subject.name, error)
            file.close()
            self._cache.discard(subject.key, _INDEX)
            return None
        return index


def verify_findings(subject: Subject, findings: Findings) -> None:
    """Compare what a pass found with what is recorded. Raises Corrupt."""
    facts = findings.facts
    if facts.diff_id != subject.diff_id:
        raise Corrupt(f"{subject.name}: failed to verify, it decodes to {facts.diff_id}")
    if subject.stored_digest not in (None, facts.stored_digest):
        raise Corrupt(f"{subject.name}: failed to verify, its stored bytes are {facts.stored_digest}")
    if subject.size not in (None, facts.size):
        raise Corrupt(f"{subject.name}: it decodes to {facts.size} bytes where {subject.size} are recorded")
