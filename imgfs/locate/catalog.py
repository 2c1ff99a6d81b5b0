"""The segments that the cache keeps, as one: every layer that is indexed, found by its key.

New layers become a segment of their own, with which smaller ones are merged, so that there are few. A segment is named
by the digest of its bytes: what is not as it was written, by its stamp, is compared with that, and dropped if it
differs. Where the cache keeps nothing, segments are in memory.
"""

import io
import logging
import mmap
import os
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING

from imgfs.blob.stamp import FileStamp
from imgfs.cache import Cache
from imgfs.digest import Digest
from imgfs.errors import Corrupt, describe
from imgfs.locate.layer_columns import LayerColumns
from imgfs.locate.segment import Segment

if TYPE_CHECKING:  # a search writes nothing
    from imgfs.locate.segment_writer import PackedLayer

logger = logging.getLogger("imgfs")

KIND = "locate"
"""The kind of files in the cache."""
_PIECE = 1 << 20  # bytes hashed at a time
_DAY_NS = 86_400 * 10**9  # after which a segment is marked as used again
_FEW, _OLD = 1_000_000, 4  # entries of layers that are gone are kept, and so many times those of the others
_RATIO = 2  # a segment is merged with new layers unless it is so many times larger


class Catalog:
    """The layers in the segments that `cache` keeps; `known` are the stamps of those whose bytes were compared."""

    def __init__(self, cache: Cache, known: Mapping[str, FileStamp]) -> None:
        self._cache = cache
        self._known = known
        self.stamps: dict[str, FileStamp] = {}
        """The stamps of segments whose bytes were compared, by digest."""
        self.segments: list[Segment] = []
        self._digests: list[Digest | None] = []  # of the segments, None of one in memory
        for digest in sorted(cache.kept(KIND)):
            self._load(digest)

    def layers(self) -> dict[bytes, LayerColumns]:
        """Every layer by its key; of several, one that has digests of contents."""
        found: dict[bytes, LayerColumns] = {}
        for segment in self.segments:
            for layer in segment.layers:
                if layer.key not in found or layer.place.has_digests:
                    found[layer.key] = layer
        return found

    def add(self, layers: Sequence["PackedLayer"], needed: Collection[bytes] | None = None) -> None:
        """Keep some layers.

        `needed` are the keys of all that are there, if that is known: where most of what is kept is of layers that are
        not, these are dropped.
        """
        from imgfs.locate.segment_writer import PackedLayer

        fresh = {layer.place.key: layer for layer in layers}
        dropping = needed is not None and self._is_mostly_old(needed)
        size = sum(layer.place.count for layer in layers)
        merged: list[int] = []
        for number in sorted(range(len(self.segments)), key=lambda number: len(self.segments[number])):
            if len(self.segments[number]) > _RATIO * size and not dropping:
                break
            merged.append(number)
            size += len(self.segments[number])
        for layer in (layer for number in merged for layer in self.segments[number].layers):
            known = fresh.get(layer.key)
            is_needed = needed is None or not dropping or layer.key in needed
            if is_needed and (known is None or (layer.place.has_digests and not known.place.has_digests)):
                fresh[layer.key] = PackedLayer.of(layer)
        dropped = [self._digests[number] for number in merged]
        self._write(list(fresh.values()))
        for number in sorted(merged, reverse=True):
            del self.segments[number], self._digests[number]
        for old in filter(None, dropped):
            if old not in self._digests:
                self.stamps.pop(str(old), None)
                self._cache.discard(old, KIND)

    def _is_mostly_old(self, needed: Collection[bytes]) -> bool:
        sizes = [(layer.key in needed, len(layer)) for segment in self.segments for layer in segment.layers]
        kept = sum(size for is_needed, size in sizes if is_needed)
        return sum(size for _, size in sizes) - kept > _OLD * kept + _FEW

    def _write(self, layers: Sequence["PackedLayer"]) -> None:
        from imgfs.locate.segment_writer import write_segment

        partial = self._cache.begin()
        if partial is not None:
            try:
                with open(partial.fd, "wb", closefd=False) as file:
                    digest = Digest.from_hex(write_segment(layers, file.write).hex())
                self._cache.keep_partial(partial, digest, KIND)
                self._use(digest, Segment(_mapped(partial.fd)))
                self.stamps[str(digest)] = FileStamp.of(os.fstat(partial.fd))
                return
            except OSError as error:
                logger.warning("the index of layers is not kept: %s", describe(error))
            finally:
                partial.close()
        buffer = io.BytesIO()
        write_segment(layers, buffer.write)
        self._use(None, Segment(buffer.getvalue()))

    def _load(self, digest: Digest) -> None:
        file = self._cache.peek(digest, KIND)
        if file is None:
            return
        with file:
            stamp = FileStamp.of(file.status)
            try:
                data = _mapped(file.fileno())
                if self._known.get(digest) != stamp and not _is_of(digest, data):
                    raise Corrupt("index of layers: damaged")
                self._use(digest, Segment(data))
            except (Corrupt, ValueError) as error:  # mmap refuses an empty file
                logger.info("layers are indexed again: %s", error)
                self._cache.discard(digest, KIND)
                return
            if abs(file.status.st_mtime_ns - time.time_ns()) > _DAY_NS:
                with suppress(OSError):  # a read-only cache is still worth reading
                    os.utime(file.fileno())
                    stamp = FileStamp.of(os.fstat(file.fileno()))
            self.stamps[str(digest)] = stamp

    def _use(self, digest: Digest | None, segment: Segment) -> None:
        self.segments.append(segment)
        self._digests.append(digest)


def _mapped(fd: int) -> mmap.mmap:
    return mmap.mmap(fd, 0, prot=mmap.PROT_READ)


def _is_of(digest: Digest, data: mmap.mmap) -> bool:
    sha, view = sha256(), memoryview(data)
    for start in range(0, len(view), _PIECE):
        sha.update(view[start : start + _PIECE])
    return sha.hexdigest() == digest.hex
