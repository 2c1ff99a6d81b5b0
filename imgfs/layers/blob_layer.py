"""A layer kept as one blob, compressed or not, which is how archives, layouts and our own store keep them.

What compression it has is decided from its first bytes, never from a media type.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar

from imgfs.blob import Blob
from imgfs.codec import Compression, begins_tar, describe_unread, detect
from imgfs.digest import ChainID, DiffID, Digest
from imgfs.errors import Corrupt
from imgfs.layers.indexer import Indexer, Subject
from imgfs.layers.layer import check_copy
from imgfs.layers.member_list import packed_members
from imgfs.layers.stored_tar import StoredTar
from imgfs.tar import Member, TarBlob, scan_blob
from imgfs.tree import Tree, build_tree

_SAMPLE = 4096


@dataclass(slots=True)
class BlobLayer:
    """A `Layer` whose stored bytes `open_blob` opens, anew at each call; it raises what `Layer.open` does.

    `stored_digest` and `recorded_size`, that of the tar, are None where they are not recorded. A layer that
    `is_doubtful` is compared with its diff ID before any byte of it is returned.
    """

    chain_id: ChainID
    diff_id: DiffID
    parent: ChainID | None
    open_blob: Callable[[], Blob]
    indexer: Indexer
    stored_digest: Digest | None = None
    recorded_size: int | None = None
    is_doubtful: bool = False
    has_tar: ClassVar[bool] = True
    _seen: Subject | None = field(default=None, init=False, compare=False)  # when it was last opened

    @property
    def known_size(self) -> int | None:
        if self.recorded_size is not None or self._seen is None:
            return self.recorded_size
        subject = self._seen
        if subject.compression is Compression.PLAIN and not self.is_doubtful:
            return subject.stored_size
        return self.indexer.known_size(subject)

    def look_for_size(self) -> int | None:
        if self.known_size is None and self._seen is None:
            self.indexer.look_for_size(self.subject())
        return self.known_size

    def open(self) -> TarBlob:
        blob = self.open_blob()
        try:
            subject = self._subject(blob)
            self.indexer.touch(subject)
            return StoredTar(subject, blob, self.indexer, verified_first=self.is_doubtful)
        except BaseException:
            blob.close()
            raise

    def tree(self) -> Tree:
        return build_tree(self.members(), f"layer {self.diff_id}")

    def open_content(self, copy: str | None = None) -> TarBlob:
        check_copy(self, None, copy)
        return self.open()

    def members(self) -> Sequence[Member]:
        """Every member of the tar, in order; of one that is damaged, those before the damage, which is logged."""
        with self.open_blob() as blob:
            subject = self._subject(blob)
            self.indexer.touch(subject)
            if (
                subject.compression is Compression.PLAIN
                and not self.is_doubtful
                and self.indexer.find(subject) is None
            ):
                with suppress(
                    Corrupt
                ):  # by the tar's maker, or since: the digests tell, and the pass says it
                    return packed_members(scan_blob(blob, as_engines=True))
        return self.indexer.members(subject)

    @property
    def is_verified(self) -> bool:
        return self.indexer.is_indexed(self.subject())  # as an index is only kept if both digests are right

    def subject(self) -> Subject:
        """The layer as indexing sees it. Raises what `open` raises."""
        with self.open_blob() as blob:
            return self._subject(blob)

    def _subject(self, blob: Blob) -> Subject:
        compression = detect(blob)
        if compression is Compression.PLAIN and not self._may_be_plain(blob):
            blob_name = f", blob {self.stored_digest}" if self.stored_digest else ""
            raise Corrupt(f"layer {self.diff_id}{blob_name}: its stored bytes are {describe_unread(blob)}")
        if compression is Compression.PLAIN and self.recorded_size not in (None, blob.size):
            raise Corrupt(f"layer {self.diff_id}: {blob.size} bytes where {self.recorded_size} are recorded")
        digest = self.stored_digest or (Digest(self.diff_id) if compression is Compression.PLAIN else None)
        key = digest or _sample_digest(self.diff_id, blob)
        size = self.recorded_size
        self._seen = Subject(key, compression, self.diff_id, blob.size, digest, size, self.open_blob)
        return self._seen

    def _may_be_plain(self, blob: Blob) -> bool:
        """Whether stored bytes that do not look compressed can be the tar itself, and not damaged at their start."""
        if self.stored_digest is None or self.stored_digest.algorithm != self.diff_id.algorithm:
            return begins_tar(blob)
        return self.stored_digest == self.diff_id


def _sample_digest(diff_id: DiffID, blob: Blob) -> Digest:
    """A key for compressed bytes whose digest nobody recorded: what they decode to, their size and both ends."""
    ends = blob.pread(_SAMPLE, 0) + blob.pread(_SAMPLE, max(0, blob.size - _SAMPLE))
    return Digest.from_hex(hashlib.sha256(f"{diff_id} {blob.size} ".encode() + ends).hexdigest())
