"""A layer kept as one blob, compressed or not, which is how archives, layouts and our own store keep them.

What compression it has is decided from its first bytes, never from a media type. Its tar is read from

index known       a decoded copy if one is kept, else from the nearest seek point, unless that has become so wasteful
                  that a copy is worth being made
not yet           the copy that the running pass makes, as far as it has come; if there is none, or the pass waits for
                  that of another layer, a decoder that follows the reader
not compressed    the stored bytes
remote            a decoded copy, else span by span, each fetched, verified and cached; before the index is known, the
                  copy that the running pass makes, which fetches everything once
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import ClassVar

from imgfs.blob import Blob
from imgfs.codec import (
    Compression,
    RandomBlob,
    begins_tar,
    describe_unread,
    detect,
    open_forward,
    open_random,
)
from imgfs.digest import ChainID, DiffID, Digest
from imgfs.errors import Corrupt, ImgfsError, StoreError
from imgfs.layers.background import BackgroundVerifier
from imgfs.layers.content import LayerContent, Place
from imgfs.layers.digest_map import DigestMap
from imgfs.layers.index_build import IndexBuild
from imgfs.layers.index_file import LayerIndex, LayerKey
from imgfs.layers.indexer import Indexer
from imgfs.layers.layer import check_copy
from imgfs.layers.member_list import packed_members
from imgfs.layers.passing_tar import log_damage
from imgfs.layers.trust import Level
from imgfs.tar import Member, ScannedTar, TarBlob, scan_blob
from imgfs.tree import Tree, build_tree

_SAMPLE = 4096
_WASTEFUL = 4  # times the size of a tar that decoders may decode for one reader before a copy is made


@dataclass(slots=True)
class BlobLayer:
    """A `Layer` whose stored bytes `open_blob` opens at each call; it raises what `Layer.open` does.

    `stored_digest` and `recorded_size`, that of the tar, are None where they are not recorded. `read_size` returns the
    size of its files, by its chain ID, where an engine records that, and raises nothing. A layer that `is_doubtful` is
    compared with its diff ID before any byte of it is returned.
    """

    chain_id: ChainID
    diff_id: DiffID
    parent: ChainID | None
    open_blob: Callable[[], Blob]
    indexer: Indexer
    stored_digest: Digest | None = None
    recorded_size: int | None = None
    is_doubtful: bool = False
    read_size: Callable[[ChainID], int | None] = field(default=lambda _: None, compare=False)
    has_tar: ClassVar[bool] = True
    may_have_tar: ClassVar[bool] = True
    _last_place: Place | None = field(default=None, init=False, compare=False)  # when it was last opened

    @property
    def known_size(self) -> int | None:
        if self.recorded_size is not None or self._last_place is None:
            return self.recorded_size
        key = self._last_place.key
        if key.compression is Compression.PLAIN and not self.is_doubtful:
            return key.stored_size
        return self.indexer.indexes.known_size(key)

    def look_for_size(self) -> int | None:
        if self.known_size is None:
            key = self._last_place.key if self._last_place else self._look_at_key()
            if key is not None:
                self.indexer.indexes.look_for_size(key)
        return self.known_size

    def listed_size(self) -> int | None:
        size = self.read_size(self.chain_id)
        if size is None and self._last_place is None and self._look_at_key(may_ask=False) is None:
            return None
        return self.look_for_size() if size is None else size

    def open(self) -> TarBlob:
        content = self.content()
        self.indexer.verify_later(content, self.content)
        return BlobTar(content, self.indexer.verifier, is_doubtful=self.is_doubtful)

    def tree(self) -> Tree:
        with self.content() as content:
            known = content.index
            tree = build_tree(self._members(content), content.key.name)
            index = content.index
        if index is not None and index.header.damage:
            tree.damaged[0] = index.header.damage
            if known is not None:  # as otherwise the pass has logged it
                log_damage(content.key.name, index.header.damage)
        return tree

    def open_content(self, copy: str | None = None) -> TarBlob:
        check_copy(self, None, copy)
        return self.open()

    def members(self) -> Sequence[Member]:
        """Every member of the tar, in order; of one that is damaged, those before the damage, which is logged."""
        with self.content() as content:
            return self._members(content)

    def _members(self, content: LayerContent) -> Sequence[Member]:
        self.indexer.verify_later(content, self.content)
        if (
            content.index is None
            and content.key.compression is Compression.PLAIN
            and not content.is_remote
            and not self.is_doubtful
        ):
            # what is damaged may be so since it was made: indexing compares the digests, and reports it
            with suppress(Corrupt):
                return packed_members(scan_blob(content.stored, as_engines=True))
        return content.members()

    def file_digests(self, copy: str | None = None) -> DigestMap | None:
        """The digests of files at the places that they have in `copy`, as an index has them. Raises as `open` does."""
        if copy is not None:
            return None
        with self.content() as content:
            return content.file_digests()

    @property
    def is_verified(self) -> bool:
        # an index is only kept if both digests were right
        key = self._look_at_key()
        return key is not None and self.indexer.indexes.header(key) is not None

    @property
    def level(self) -> Level | None:
        """How far the index is vouched for that its files are known by, None if there is none. May block."""
        key = self._look_at_key()
        if key is None:
            return None
        indexes = self.indexer.indexes
        if indexes.header(key) is not None:
            return Level.PROVED
        index = indexes.find(key, with_spans=True)
        return index.level if index is not None else None

    def content(self) -> LayerContent:
        """What is stored of the layer; the caller releases it. Raises what `open` raises.

        If it cannot be opened, as its path is gone, but is in use, that is returned.
        """
        try:
            blob = self.open_blob()
        except (ImgfsError, OSError):
            content = self.indexer.find_in_use(self._last_place)
            if content is None:
                raise
            return content
        try:
            place = self._place_of(blob)
        except BaseException:
            blob.close()
            raise
        return self.indexer.open(place, blob)

    def key(self) -> LayerKey:
        """The name of the stored bytes as they are now. Raises what `open` raises."""
        with self.open_blob() as blob:
            return self._place_of(blob).key

    def _look_at_key(self, *, may_ask: bool = True) -> LayerKey | None:
        """The name of the stored bytes; None where they would have to be fetched for that.

        Unless it `may_ask`, no other machine is asked for their index, either.
        """
        with self.open_blob() as blob:
            if blob.is_remote and self._indexed_compression(blob, may_ask=may_ask) is None:
                return None
            return self._place_of(blob).key

    def _indexed_compression(self, blob: Blob, *, may_ask: bool = True) -> Compression | None:
        """The compression of a remote blob as an index has it, which saves a request."""
        if self.stored_digest is None:
            return None
        if self._last_place is not None:
            return self._last_place.key.compression
        indexes = self.indexer.indexes
        return indexes.compression_of(self.stored_digest, self.diff_id, blob.size, may_ask=may_ask)

    def _place_of(self, blob: Blob) -> Place:
        known = self._indexed_compression(blob) if blob.is_remote else None
        compression = known or detect(blob)
        if compression is Compression.PLAIN and known is None and not self._may_be_plain(blob):
            blob_name = f", blob {self.stored_digest}" if self.stored_digest else ""
            is_tar = begins_tar(blob)
            what = "an uncompressed tar, of another digest" if is_tar else describe_unread(blob)
            raise Corrupt(f"layer {self.diff_id}{blob_name}: its stored bytes are {what}")
        size = self.recorded_size
        if compression is Compression.PLAIN and size not in (None, blob.size):
            raise Corrupt(f"layer {self.diff_id}: {blob.size} bytes where {size} are recorded")
        digest = self.stored_digest or (Digest(self.diff_id) if compression is Compression.PLAIN else None)
        cached_as = digest or _sample_digest(self.diff_id, blob)
        key = LayerKey(cached_as, compression, self.diff_id, blob.size, digest, size)
        self._last_place = Place(key, blob.stamp() or self.open_blob)
        return self._last_place

    def _may_be_plain(self, blob: Blob) -> bool:
        """Whether stored bytes that do not look compressed can be the tar itself, and not damaged at their start."""
        if self.stored_digest is None or self.stored_digest.algorithm != self.diff_id.algorithm:
            return begins_tar(blob)
        return self.stored_digest == self.diff_id


StoredLayer = BlobLayer
"""The name that BlobLayer had before, for programs that use it."""


def _sample_digest(diff_id: DiffID, blob: Blob) -> Digest:
    """Names compressed bytes whose digest is not recorded: by what they decode to, their size and both ends."""
    ends = blob.pread(_SAMPLE, 0) + blob.pread(_SAMPLE, max(0, blob.size - _SAMPLE))
    return Digest.from_hex(hashlib.sha256(f"{diff_id} {blob.size} ".encode() + ends).hexdigest())


class BlobTar(TarBlob):
    """The tar of a layer with `content` for one reader, whose decoders follow it; closing it releases the content.

    If it `is_doubtful`, the layer is indexed, and so verified, before any of its bytes is returned. `verifier` gives
    way to reads.
    """

    def __init__(
        self, content: LayerContent, verifier: BackgroundVerifier | None, *, is_doubtful: bool
    ) -> None:
        self._content = content
        self._verifier = verifier
        self._is_doubtful = is_doubtful
        self._is_plain = content.key.compression is Compression.PLAIN
        is_read_in_place = self._is_plain and not is_doubtful and not content.is_remote
        self._in_place = content.stored if is_read_in_place else None  # until it is indexed
        self._lock = Lock()  # held while a decoder is made
        # decoders read from what the content holds open: dropped, and never closed
        self._indexed: Blob | None = None
        self._forward: TarBlob | None = None
        self._may_copy = True
        self._is_closed = False

    @property
    def size(self) -> int:
        self._content.raise_failure()
        known = self.known_size
        return self._content.wait_for_index().header.size if known is None else known

    @property
    def known_size(self) -> int | None:
        return self._content.size if self._in_place is None else self._content.key.stored_size

    def ending_before(self, limit: int) -> int | None:
        content = self._content
        index = content.wait_for_index() if self._is_doubtful else content.index
        if index is not None:
            ending = index.header.ending
            return ending if ending is not None and ending < limit else None
        forward = self._forward
        if forward is not None and forward.knows_ending_before(limit):
            return forward.ending_before(limit)
        build = self._build_to_follow(limit)
        if build is None and content.index is not None:
            return self.ending_before(limit)
        return (build or self._following()).ending_before(limit)

    def knows_ending_before(self, limit: int) -> bool:
        if self._content.index is not None:
            return True
        return self._forward is not None and self._forward.knows_ending_before(limit)

    def pread(self, size: int, offset: int) -> bytes:
        content = self._content
        if self._verifier is not None:
            self._verifier.last_read = time.monotonic()
        if content.failure:
            content.raise_failure()
        known = content.size if self._in_place is None else content.key.stored_size
        if known is not None:
            size = min(size, known - offset)
        if size <= 0:
            return b""
        try:
            data = self._read(size, offset, is_last=offset + size == known)
        except Corrupt as error:
            name = content.key.name
            raise Corrupt(str(error) if name in str(error) else f"{name}: {error}") from error
        except (ImgfsError, OSError):
            content.is_broken = True
            raise
        if known is not None and len(data) < size:
            raise Corrupt(f"{content.key.name}: ends at {offset + len(data)} of {known} bytes")
        return data

    def try_pread(self, size: int, offset: int) -> bytes | None:
        content = self._content
        if self._verifier is not None:
            self._verifier.last_read = time.monotonic()
        reader = (self._in_place if content.index is None else None) or content.copy or self._indexed
        if reader is None or content.failure:
            return None
        try:
            return reader.try_pread(size, offset)
        except Corrupt:
            return None  # a damaged copy is no reason to fail

    def close(self) -> None:
        with self._lock:
            is_closed, self._is_closed = self._is_closed, True
            self._indexed = self._forward = None
        if not is_closed:
            self._content.release()

    def _read(self, size: int, offset: int, *, is_last: bool) -> bytes:
        content = self._content
        while True:
            index = content.index
            if index is None and self._in_place is not None:
                return self._in_place.pread(size, offset)
            if index is None and (self._is_doubtful or is_last):
                # where the tar ends is only recorded until the layer is verified
                index = content.wait_for_index()
            if index is not None:
                build = content.build if content.copy is None else None
                if build is not None and build.readable and build.position >= offset + size:
                    # a pass that has just ended is still giving its copy a name
                    data = build.pread(size, offset)
                    if data is not None:
                        return data
                    continue
                reader = content.copy or self._indexed or self._open_indexed(index)
                decoded = reader.decoded if self._may_copy and isinstance(reader, RandomBlob) else 0
                if decoded > _WASTEFUL * index.header.size:
                    data = self._copied(size, offset, index)
                    if data is not None:
                        return data
                    continue
                if reader is not None:
                    try:
                        return reader.pread(size, offset)
                    except (ImgfsError, OSError):
                        if reader is self._indexed:
                            raise
                        content.give_up_copy(reader)
                        continue
                build = content.copying(index)
            else:
                build = self._build_to_follow(offset + size)
                if build is None and content.index is not None:
                    continue
            if build is None:
                return self._following().pread(size, offset)
            data = build.pread(size, offset)
            if data is not None:
                return data

    def _copied(self, size: int, offset: int, index: LayerIndex) -> bytes | None:
        """Bytes of a copy that is being made; None if it is complete, or none can be kept."""
        data = None
        with suppress(StoreError, OSError):  # without room or threads for it, reading goes on as before
            build = self._content.copying(index)
            data = build.pread(size, offset) if build is not None else None
        if data is None:
            self._may_copy = self._content.find_copy(index) is not None
        return data

    def _build_to_follow(self, limit: int) -> IndexBuild | None:
        """The pass to follow up to `limit`; None where there is none to follow, or this reader's decoder is ahead."""
        if self._in_place is not None:
            return None
        build = self._content.follow()
        return build if build and (self._forward is None or build.position >= limit) else None

    def _open_indexed(self, index: LayerIndex) -> Blob | None:
        """The decoded copy, else a decoder; None if only a copy will do and there is none."""
        content = self._content
        copy = content.find_copy(index)
        if copy is not None:
            return copy
        with self._lock:
            if self._indexed is None:
                if content.is_remote:
                    self._indexed = content.spanned(index)
                elif self._is_plain:
                    self._indexed = content.checked(index)
                elif not index.table.needs_copy:
                    self._indexed = open_random(content.checked(index), content.key.compression, index.table)
            return self._indexed

    def _following(self) -> TarBlob:
        """Reads without an index: in place, or by a decoder that follows this reader."""
        with self._lock:
            if self._forward is None:
                content = self._content
                self._forward = ScannedTar(open_forward(content.stored, content.key.compression))
            return self._forward
