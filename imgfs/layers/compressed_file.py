"""A tar in a compressed file of which nothing is recorded, such as an archive that the user names.

It is indexed as a layer is, and read in place, or from a decoded copy where that is not possible. The index is kept by
the stamp of the file: a file that is changed has another one.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from imgfs.blob import Blob, FileBlob
from imgfs.blob.stamp import FileStamp
from imgfs.codec import Compression, begins_tar, describe_unread, detect, open_forward
from imgfs.digest import Digest
from imgfs.errors import Corrupt, StoreError
from imgfs.layers.blob_layer import BlobTar
from imgfs.layers.content import Place
from imgfs.layers.index_file import LayerKey
from imgfs.layers.indexer import Indexer
from imgfs.tar import FOLLOWED, Member

logger = logging.getLogger("imgfs")

_SAMPLE = 4096


class CompressedFile:
    """The tar in `file`, which it owns, indexed at construction; `share` may be called by several threads.

    Raises Corrupt if it does not decode to a tar, StoreError if it is being written to, and what reading raises; the
    file is closed then.
    """

    def __init__(self, file: FileBlob, compression: Compression, indexer: Indexer) -> None:
        self._indexer = indexer
        self._path = file.path
        indexer.serve([file.writer])
        try:
            _check_inside(file, compression)
            stamp = _settled_stamp(file)
            key = LayerKey(_cache_name(file, stamp), compression, None, file.size, None, None, file.path)
        except BaseException:
            file.close()
            raise
        self._content = indexer.open(Place(key, stamp), file)
        try:
            self._prepare(stamp)
        except BaseException:
            self._content.release()
            raise

    def members(self) -> Iterator[Member]:
        """Every member of the tar, in order. Raises Corrupt at the end if the others cannot be read."""
        yield from self._content.members()
        damage = self._content.wait_for_index(with_copy=False).header.damage
        if damage and not damage.startswith(FOLLOWED):
            raise Corrupt(f"{self._path}: {damage}")

    def share(self) -> Blob:
        """The tar, for one reader; the caller closes it."""
        self._indexer.acquire(self._content)
        return BlobTar(self._content, None, is_doubtful=True)

    def close(self) -> None:
        """Let go of the file; it closes with the last share."""
        self._content.release()

    def _prepare(self, stamp: FileStamp) -> None:
        content = self._content
        index = content.index
        if index is None:
            compression = content.key.compression
            with_copy = compression is not Compression.GZIP
            with self._progress() as advance:
                index = content.wait_for_index(with_copy=with_copy, advance=advance)
            if content.stored.stamp() != stamp:
                raise StoreError(f"{self._path}: it was changed while it was indexed")
            if compression is Compression.ZSTD and not index.table.needs_copy:
                content.drop_copy()  # many small frames, which are decoded as fast as a copy is read
        if index.table.needs_copy and content.find_copy(index) is None:
            with self._progress() as advance:
                content.wait_for_copy(index, advance)
            if content.find_copy(index) is None:
                logger.warning(
                    "%s: reading it is slow, as the cache has no room for a decoded copy (--cache-size)",
                    self._path,
                )

    def _progress(self) -> AbstractContextManager[Callable[[int], None]]:
        return self._indexer.progress(os.path.basename(self._path), self._content.stored.size)


def _check_inside(file: FileBlob, compression: Compression) -> None:
    """Raises Corrupt if what the file decodes to is plainly no tar, however large it is."""
    inside = open_forward(file, compression)  # not closed, as the file stays open
    try:
        if begins_tar(inside):
            return
        again = detect(inside)
        what = describe_unread(inside) if again is Compression.PLAIN else f"{again}-compressed again"
        why = f"{compression}-compressed, and in that {what}"
    except Corrupt as error:
        why = str(error)
    raise Corrupt(f"{file.path}: {why}")


def _settled_stamp(file: FileBlob) -> FileStamp:
    """The stamp of a file that no further change leaves as it is; waits until that is so."""
    stamp = file.stamp()
    seconds = stamp.settles_in
    if seconds:
        time.sleep(seconds)
        if file.stamp() != stamp:
            raise StoreError(f"{file.path}: it is being written to")
    return stamp


def _cache_name(file: FileBlob, stamp: FileStamp) -> Digest:
    """What the cache calls the file as it is now: by its stamp and both of its ends."""
    ends = file.pread(_SAMPLE, 0) + file.pread(_SAMPLE, max(0, file.size - _SAMPLE))
    return Digest.from_hex(hashlib.sha256(f"{tuple(stamp)} ".encode() + ends).hexdigest())
