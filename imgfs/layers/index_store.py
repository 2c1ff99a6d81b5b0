"""Indexes of layers and decoded copies in the cache, and what of them stays in memory.

What cannot be read from the cache is made again, so nothing that is wrong there is an error here. What was looked for
and not found is remembered too, until `forget`. Tried by the tests of indexers and of contents.
"""

import io
import logging
from collections.abc import Callable, Iterable
from threading import Lock

import msgspec

from imgfs.blob import Blob, MemoryBlob
from imgfs.blob.checked import BLOCK_SIZE, CheckedBlob
from imgfs.cache.cache import COPY, Cache
from imgfs.codec import Compression
from imgfs.decoders import msgpack_decoder
from imgfs.digest import DiffID, Digest
from imgfs.errors import Corrupt, ImgfsError, StoreError, describe, printable
from imgfs.layers.index_build import DecodedCopy
from imgfs.layers.index_file import (
    IndexData,
    IndexHeader,
    LayerIndex,
    LayerKey,
    read_header,
    write_index,
)
from imgfs.lru import LRU

logger = logging.getLogger("imgfs")

_LOADED_SIZE = 64 << 20  # bytes of memory for indexes, beside those of layers that are open
_REMEMBERED = 1 << 16  # layers whose size is remembered
_INDEX, _REBUILT = "index", "rebuilt"
_LARGEST_REBUILT = 4096  # bytes
UNREADABLE = (Corrupt, StoreError, OSError)
"""What reading an index from the cache raises; the index is then made again."""


class Rebuilt(msgspec.Struct):
    """What came of making a tar of a layer's files, whose state is `copy`.

    `writer` is the program that makes it so that it has the diff ID, None if none is known; `size` is that of the tar
    in bytes.
    """

    copy: str
    writer: str | None
    size: int


External = Callable[[Digest, DiffID | None, int], LayerIndex | None]
"""Returns an index that is kept elsewhere, with the level that it has there, of stored bytes with a digest, a diff ID
and a size; None if there is none. May block. Raises ImgfsError or OSError, which is logged: there is none then."""


class IndexStore:
    """The indexes in `cache`, those used last in memory. Safe to use from several threads.

    `external` is asked for those that the cache does not have. What it returns is kept in memory only.
    """

    external: External | None = None

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self._writers: frozenset[int] = frozenset()
        self._loaded: LRU[LayerKey, LayerIndex] = LRU(_LOADED_SIZE, lambda index: index.memory)
        self._sizes: LRU[LayerKey, int] = LRU(_REMEMBERED)
        self._unindexed: LRU[LayerKey, bool] = LRU(_REMEMBERED)
        self._uncopied: LRU[LayerKey, bool] = LRU(_REMEMBERED)
        self._asking = Lock()  # held while `external` is asked
        self._found: LRU[Digest, LayerIndex] = LRU(_LOADED_SIZE, lambda index: index.memory)
        self._not_found: LRU[Digest, bool] = LRU(_REMEMBERED)

    def serve(self, writers: Iterable[int]) -> None:
        """Use only what the cache has for layers that `writers` decide, with those of earlier calls."""
        self._writers = self._writers.union(writers)
        self.cache = self.cache.of(self._writers)

    def forget(self) -> None:
        """Look again for sizes that were not found."""
        self._unindexed.pop_all()
        self._uncopied.pop_all()
        self._not_found.pop_all()

    def known_size(self, key: LayerKey) -> int | None:
        """The size in bytes of the layer's tar if it is in memory, else None. Never blocks."""
        return self._sizes.get(key)

    def look_for_size(self, key: LayerKey) -> int | None:
        """The size in bytes of the layer's tar, None if the layer is not indexed. The result is remembered."""
        if self.known_size(key) is None and not self._unindexed.get(key):
            header = self.header(key)
            if header is None and self.external is not None:
                header = self._external_header(key)
            if header is None:
                self._unindexed.put(key, True)
            else:
                self._sizes.put(key, header.size)
        return self.known_size(key)

    def header(self, key: LayerKey) -> IndexHeader | None:
        """The header of the layer's index, None if the layer is not indexed; nothing else of it is read."""
        index = self._loaded.get(key)
        if index is not None:
            return index.header
        try:
            header = self._read_header(key.digest)
        except UNREADABLE as error:
            self.discard(key, error)
            return None
        return header if header is not None and key.matches(header) else None

    def compression_of(
        self, stored_digest: Digest, diff_id: DiffID, stored_size: int, *, may_ask: bool = True
    ) -> Compression | None:
        """What stored bytes that are indexed are compressed with, None if they are not known to be this layer.

        `external` is asked if it `may_ask`.
        """
        try:
            header = self._read_header(stored_digest)
        except UNREADABLE:  # found again, with the name of the layer
            header = None
        if header is None or (header.diff_id, header.stored_size) != (diff_id, stored_size):
            index = self._ask_external(stored_digest, diff_id, stored_size) if may_ask else None
            header = index.header if index is not None else None
        return header.compression if header is not None else None

    def _read_header(self, digest: Digest) -> IndexHeader | None:
        file = self.cache.open(digest, _INDEX)
        if file is None:
            return None
        with file:
            return read_header(file)

    def find(self, key: LayerKey, *, with_spans: bool = False) -> LayerIndex | None:
        """The layer's index, None if the layer is not indexed; `with_spans` only one that has their digests."""
        index = self._loaded.get(key)
        if index is None:
            index = self._load(key)
            if index is not None:
                self._remember(key, index)
        if self.external is not None and (index is None or (with_spans and index.spans is None)):
            return self._find_external(key)
        return None if with_spans and index is not None and index.spans is None else index

    def keep(self, key: LayerKey, data: IndexData) -> LayerIndex:
        """Keep the index that a pass made; what is returned can be used even if the cache does not keep it."""
        header = msgspec.structs.replace(data.header, archive=printable(key.path))
        index = self._write(key.digest, IndexData(header, data.sections))
        self._remember(key, index)
        return index

    def learn(self, data: IndexData) -> None:
        """Keep the index of stored bytes of which no more is known than it says."""
        self._write(Digest(data.header.stored_digest), data)

    def _write(self, digest: Digest, data: IndexData) -> LayerIndex:
        written = io.BytesIO()
        write_index(written, data.header, data.sections)
        packed = written.getvalue()
        self.cache.keep(digest, _INDEX, lambda file: file.write(packed))
        file = self.cache.open(digest, _INDEX)
        if file is None:
            return LayerIndex.load(MemoryBlob(packed), lambda: MemoryBlob(packed))
        file.close()
        return LayerIndex.load(MemoryBlob(packed), lambda: self._reopen(digest))

    def discard(self, key: LayerKey, error: Exception) -> None:
        """Drop an index that could not be read."""
        if self._found.pop(key.digest) is not None:
            logger.warning("%s: its index is not used: %s", key.name, describe(error))
            self._not_found.put(key.digest, True)
            return
        logger.info("%s: its index is made again: %s", key.name, describe(error))
        self.cache.discard(key.digest, _INDEX)
        self._loaded.pop(key)

    def begin_copy(self, key: LayerKey, size: int | None = None) -> DecodedCopy | None:
        """A copy to be filled; None if none can be kept, as is known of some layers, or for `size` bytes."""
        if size is not None and (size > self.cache.limit or self._uncopied.get(key)):
            return None
        partial = self.cache.begin()
        return None if partial is None else DecodedCopy(self.cache, partial)

    def keep_copy(self, key: LayerKey, copy: DecodedCopy) -> None:
        """Keep a copy that is whole."""
        self.cache.keep_partial(copy.partial, key.digest, COPY)

    def note_uncopied(self, key: LayerKey) -> None:
        """Remember that the cache has no room for a copy of a layer."""
        self._uncopied.put(key, True)

    def open_copy(self, key: LayerKey, index: LayerIndex) -> Blob | None:
        """The layer's decoded bytes, each block checked when it is read; None if they are not kept."""
        copy = self.cache.open(key.digest, COPY)
        if copy is None:
            return None
        if not index.has_checksums:
            copy.close()
            return None
        if copy.size != index.header.size:
            copy.close()
            self.discard_copy(key)
            return None
        return CheckedBlob(copy, BLOCK_SIZE, index.plain_checksums, f"copy of {key.name}")

    def discard_copy(self, key: LayerKey) -> None:
        """Drop the layer's decoded bytes."""
        self.cache.discard(key.digest, COPY)

    def rebuilt(self, diff_id: DiffID) -> Rebuilt | None:
        """What is known of a tar that was made of a layer's files; None if nothing."""
        file = self.cache.open(diff_id, _REBUILT)
        if file is None:
            return None
        try:
            with file:
                return msgpack_decoder(Rebuilt).decode(file.pread(_LARGEST_REBUILT, 0))
        except (*UNREADABLE, msgspec.MsgspecError, UnicodeDecodeError) as error:
            logger.info("layer %s: its tar is made again: %s", diff_id, error)
            self.cache.discard(diff_id, _REBUILT)
            return None

    def keep_rebuilt(self, diff_id: DiffID, rebuilt: Rebuilt) -> None:
        """Keep what is known of a tar that was made of a layer's files."""
        packed = msgspec.msgpack.encode(rebuilt)
        self.cache.keep(diff_id, _REBUILT, lambda file: file.write(packed))

    def _find_external(self, key: LayerKey) -> LayerIndex | None:
        index = self._ask_external(key.digest, key.diff_id, key.stored_size)
        if index is None or not key.matches(index.header):
            return None
        self._sizes.put(key, index.header.size)
        return index

    def _external_header(self, key: LayerKey) -> IndexHeader | None:
        index = self._find_external(key)
        return None if index is None else index.header

    def _ask_external(self, digest: Digest, diff_id: DiffID | None, stored_size: int) -> LayerIndex | None:
        if self.external is None:
            return None
        with self._asking:
            index = self._found.get(digest)
            if index is not None or self._not_found.get(digest):
                return index
            try:
                index = self.external(digest, diff_id, stored_size)
                if index is not None:
                    index.check_names(digest, diff_id, stored_size)
            except (ImgfsError, OSError) as error:
                logger.warning("blob %s: its index is not used: %s", digest, describe(error))
                index = None
            if index is None:
                self._not_found.put(digest, True)
            else:
                self._found.put(digest, index)
            return index

    def _remember(self, key: LayerKey, index: LayerIndex) -> None:
        self._loaded.put(key, index)
        self._sizes.put(key, index.header.size)

    def _load(self, key: LayerKey) -> LayerIndex | None:
        file = self.cache.open(key.digest, _INDEX)
        if file is None:
            return None
        try:
            with file:
                index = LayerIndex.load(file, lambda: self._reopen(key.digest))
                return index if key.matches(index.header) else None
        except UNREADABLE as error:
            self.discard(key, error)
            return None

    def _reopen(self, digest: Digest) -> Blob:
        file = self.cache.open(digest, _INDEX)
        if file is None:
            raise Corrupt("layer index: no longer in the cache")
        return file
