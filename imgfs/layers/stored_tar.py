"""The tar of a layer that is kept as one blob, read by whatever way is best at the moment.

index known       a decoded copy if one is kept, else from the nearest seek point
not yet           the copy that the pass makes, as far as it has come; if there is none, or the pass waits for
                  that of another layer, decoding along
not compressed    in place
"""

from threading import Lock

from imgfs.blob import Blob, SharedBlob
from imgfs.blob.checked import BLOCK_SIZE, CheckedBlob
from imgfs.codec import Compression, open_forward, open_random
from imgfs.errors import Corrupt, ImgfsError
from imgfs.layers.building import Building
from imgfs.layers.index_file import LayerIndex
from imgfs.layers.indexer import Indexer, Subject
from imgfs.tar import ScannedTar, TarBlob


class StoredTar(TarBlob):
    """One reader's view of the layer `subject`, whose stored bytes are `blob`; closing it closes that.

    With `verified_first`, the layer is indexed, and so verified, before any of its bytes is returned.
    """

    def __init__(
        self, subject: Subject, blob: Blob, indexer: Indexer, *, verified_first: bool = False
    ) -> None:
        self._subject = subject
        self._blob = blob
        self._stored = SharedBlob(blob)
        self._indexer = indexer
        self._lock = Lock()
        self._index = indexer.find(subject)
        self._reader: Blob | None = None  # once the index is known
        self._reads_copy = False
        self._unindexed: TarBlob | None = None  # decoding along, or in place
        self._closed = False
        self._verified_first = verified_first

    @property
    def size(self) -> int:
        self._indexer.raise_failure(self._subject)
        known = self.known_size
        return self._indexer.index(self._subject).facts.size if known is None else known

    @property
    def known_size(self) -> int | None:
        if self._is_in_place:
            return self._subject.stored_size
        index = self._known_index()
        return index.facts.size if index else self._subject.size

    def ending_before(self, limit: int) -> int | None:
        if self._verified_first and self._known_index() is None:
            self._verify()
        index = self._known_index()
        if index is not None:
            ending = index.facts.ending
            return ending if ending is not None and ending < limit else None
        along = self._unindexed
        if along is not None and along.knows_ending_before(limit):
            return along.ending_before(limit)
        building = self._building(limit)
        return building.ending_before(limit) if building else self._along().ending_before(limit)

    def knows_ending_before(self, limit: int) -> bool:
        if self._known_index() is not None:
            return True
        return self._unindexed is not None and self._unindexed.knows_ending_before(limit)

    def pread(self, size: int, offset: int) -> bytes:
        known = self.known_size
        if known is not None:
            size = min(size, known - offset)
        if size <= 0:
            return b""
        self._indexer.note_read()
        self._indexer.raise_failure(self._subject)
        try:
            if offset + size == known and not self._is_size_sure():
                self._indexer.index(
                    self._subject
                )  # that it ends there is only recorded, until it is verified
            data = self._read(size, offset)
        except Corrupt as error:
            name = self._subject.name
            raise Corrupt(str(error) if name in str(error) else f"{name}: {error}") from error
        if known is not None and len(data) < size:
            raise Corrupt(f"{self._subject.name}: ends at {offset + len(data)} of {known} bytes")
        return data

    def try_pread(self, size: int, offset: int) -> bytes | None:
        self._indexer.note_read()
        if self._indexer.has_failed(self._subject):
            return None
        reader = self._reader
        if reader is None and self._is_in_place and self._known_index() is None:
            reader = self._blob
        try:
            return None if reader is None else reader.try_pread(size, offset)
        except Corrupt:
            return None  # a copy that is damaged is no reason to fail

    def close(self) -> None:
        with self._lock:
            readers = [reader for reader in (self._reader, self._unindexed) if reader]
            self._reader = self._unindexed = None
            closed, self._closed = self._closed, True
        if not closed:
            for reader in readers:
                reader.close()
            self._stored.close()

    def _read(self, size: int, offset: int) -> bytes:
        while True:
            index = self._known_index()
            if index is not None:
                reader = self._indexed(index)
                if reader is not None:
                    try:
                        return reader.pread(size, offset)
                    except (ImgfsError, OSError):
                        if not self._give_up_copy(reader):
                            raise
                        continue
                building = self._indexer.copying(self._subject, index)
            elif self._verified_first:
                self._verify()
                continue
            else:
                building = self._building(offset + size)
                if building is None and self._known_index() is not None:
                    continue
            if building is None:
                return self._along().pread(size, offset)
            data = building.pread(size, offset)
            if data is not None:
                return data

    @property
    def _is_in_place(self) -> bool:
        """Whether the bytes are there as they lie, to be believed before they are indexed."""
        return self._subject.compression is Compression.PLAIN and not self._verified_first

    def _is_size_sure(self) -> bool:
        return self._is_in_place or self._known_index() is not None

    def _verify(self) -> None:
        self._indexer.index(self._subject)
        self._verified_first = False

    def _known_index(self) -> LayerIndex | None:
        if self._index is None:
            self._index = self._indexer.loaded(self._subject)
        return self._index

    def _building(self, limit: int) -> Building | None:
        """The pass to follow up to `limit`; None where there is none to be followed, or decoding along is ahead."""
        if self._subject.compression is Compression.PLAIN:
            return None
        building = self._indexer.follow(self._subject)
        return building if building and (self._unindexed is None or building.position >= limit) else None

    def _indexed(self, index: LayerIndex) -> Blob | None:
        """The way to read now that the index is known; None if only a decoded copy will do and there is none."""
        with self._lock:
            if self._reader is None:
                self._reader = self._indexer.open_copy(self._subject, index)
                self._reads_copy = self._reader is not None
            if self._reader is None:
                stored = CheckedBlob(
                    self._stored.share(), BLOCK_SIZE, index.stored_checksums, self._subject.name
                )
                if self._subject.compression is Compression.PLAIN:
                    self._reader = stored
                elif not index.table.needs_copy:
                    self._reader = open_random(stored, self._subject.compression, index.table)
                else:
                    stored.close()
            return self._reader

    def _give_up_copy(self, reader: Blob) -> bool:
        """Drop a decoded copy that turned out damaged, or was evicted; False if `reader` is no copy."""
        with self._lock:
            if reader is self._reader:
                if not self._reads_copy:
                    return False
                self._indexer.discard_copy(self._subject)
                self._reader = None  # closed when the last read that uses it has ended
            return True

    def _along(self) -> TarBlob:
        """Reading without an index: in place, or by decoding along."""
        with self._lock:
            if self._unindexed is None:
                stored = self._stored.share()
                self._unindexed = ScannedTar(open_forward(stored, self._subject.compression))
            return self._unindexed
