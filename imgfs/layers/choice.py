"""A layer that is kept more than once: as several blobs, in several stacks, or in several sources.

All copies have the same diff ID, so any of them may be read. Where one turns out to be missing or damaged, reading
goes on in the next. Knows nothing of how a copy is stored.
"""

import errno
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from threading import Lock
from typing import Generic, TypeVar

from imgfs.blob import Blob
from imgfs.digest import ChainID, DiffID
from imgfs.errors import Corrupt, NotFound, StoreError, describe
from imgfs.layers.blob_layer import BlobLayer
from imgfs.layers.digest_map import DigestMap
from imgfs.layers.layer import Layer
from imgfs.layers.toc_layer import TocLayer
from imgfs.tar import TarBlob
from imgfs.tree import Tree

logger = logging.getLogger("imgfs")

T = TypeVar("T")
B = TypeVar("B", bound=Blob)

_FAILURES = (Corrupt, StoreError, NotFound, OSError)
"""What reading a copy raises where another copy may be read instead."""


class LayerChoice:
    """A `Layer` that is read from `first`, or if that fails, from the copies that `others` returns, in order.

    `others` is called each time copies are needed. Safe to use from several threads.
    """

    def __init__(self, first: Layer, others: Callable[[], Iterable[Layer]]) -> None:
        self.first = first
        self.others = others
        self._size: int | None = None
        self._is_bad = False  # and another copy could be read instead
        self._logged: set[str] = set()

    @property
    def chain_id(self) -> ChainID:
        return self.first.chain_id

    @property
    def diff_id(self) -> DiffID:
        return self.first.diff_id

    @property
    def parent(self) -> ChainID | None:
        return self.first.parent

    @property
    def known_size(self) -> int | None:
        return self._size if self._is_bad or self._size is not None else self.first.known_size

    def look_for_size(self) -> int | None:
        if self.known_size is None:
            self._size = self.attempt(lambda copy: copy.look_for_size())
        return self.known_size

    def listed_size(self) -> int | None:
        return self.attempt(lambda copy: copy.listed_size())

    def note_size(self, size: int) -> None:
        """Remember the size in bytes of the tar, as found in a copy."""
        self._size = size

    @property
    def is_verified(self) -> bool:
        return self.attempt(lambda copy: copy.is_verified)

    @property
    def has_tar(self) -> bool:
        return self.first.has_tar

    @property
    def may_have_tar(self) -> bool:
        return self.first.may_have_tar

    def open(self) -> TarBlob:
        return _ChosenTar(self, lambda copy: copy.open())

    def tree(self) -> Tree:
        return self.attempt(lambda copy: copy.tree())

    def open_content(self, copy: str | None = None) -> Blob:
        return _Chosen(self, lambda layer: layer.open_content(copy))

    def file_digests(self, copy: str | None = None) -> DigestMap | None:
        """The digests of files at the places that they have in `copy`, as the copy that is read first has them."""
        return None if self._is_bad else file_digests(self.first, copy)

    def attempt(self, use: Callable[[Layer], T], failed: tuple[Layer, Exception] | None = None) -> T:
        """What `use` returns for the first copy with which it succeeds, except the one that `failed` already.

        What is wrong with the copies before that one is logged, once each. If all fail, raises the first failure.
        """
        failures = [failed] if failed else []
        for copy in self._in_order():
            if failed and copy == failed[0]:
                continue
            try:
                result = use(copy)
            except _FAILURES as error:
                failures.append((copy, error))
            else:
                self._note(failures)
                return result
        raise failures[0][1]

    def _in_order(self) -> Iterator[Layer]:
        if not self._is_bad:
            yield self.first
        yield from map(verified_first, self.others())
        if self._is_bad:
            yield self.first

    def _note(self, failures: Iterable[tuple[Layer, Exception]]) -> None:
        for copy, error in failures:
            why = f"layer {self.diff_id}: another copy of it is read: {describe(error)}"
            self._is_bad = self._is_bad or copy is self.first
            if why not in self._logged:
                self._logged.add(why)
                logger.warning("%s", why)


class _Chosen(Blob, Generic[B]):
    """What `open_copy` opens of the copy that can be read, which may change between two reads."""

    def __init__(self, choice: LayerChoice, open_copy: Callable[[Layer], B]) -> None:
        self._choice = choice
        self._open_copy = open_copy
        self._lock = Lock()
        self._opened: list[B] = []
        choice.attempt(lambda copy: self._adopt(copy, open_copy(copy)))

    @property
    def size(self) -> int:
        return self._read(lambda blob: blob.size)

    @property
    def known_size(self) -> int | None:
        return self._current[1].known_size

    def pread(self, size: int, offset: int) -> bytes:
        copy, blob = self._current
        try:
            return blob.pread(size, offset)
        except _FAILURES as error:
            return self._read_another(lambda blob: blob.pread(size, offset), copy, error)

    def try_pread(self, size: int, offset: int) -> bytes | None:
        try:
            return self._current[1].try_pread(size, offset)
        except _FAILURES:
            return None  # `pread` goes on in another copy

    def hold(self, offset: int, size: int, *, may_block: bool = True) -> Blob | None:
        if not may_block:
            try:
                return self._current[1].hold(offset, size, may_block=False)
            except BlockingIOError:
                raise
            except _FAILURES:  # another copy is opened where that may block
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
        return self._read(lambda blob: blob.hold(offset, size))

    def close(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, []
        for blob in opened:
            blob.close()

    def _read(self, use: Callable[[B], T]) -> T:
        copy, blob = self._current
        try:
            return use(blob)
        except _FAILURES as error:
            return self._read_another(use, copy, error)

    def _read_another(self, use: Callable[[B], T], copy: Layer, error: Exception) -> T:
        return self._choice.attempt(lambda other: self._read_from(other, use), (copy, error))

    def _read_from(self, copy: Layer, use: Callable[[B], T]) -> T:
        blob = self._open_copy(copy)
        try:
            result = use(blob)
        except BaseException:
            blob.close()
            raise
        self._adopt(copy, blob)
        return result

    def _adopt(self, copy: Layer, blob: B) -> None:
        with self._lock:
            self._opened.append(blob)
            self._current = copy, blob


class _ChosenTar(_Chosen[TarBlob], TarBlob):
    @property
    def size(self) -> int:
        size = super().size
        self._choice.note_size(size)
        return size

    def ending_before(self, limit: int) -> int | None:
        return self._read(lambda tar: tar.ending_before(limit))

    def knows_ending_before(self, limit: int) -> bool:
        return self._current[1].knows_ending_before(limit)


def copies_of(layer: Layer) -> list[Layer]:
    """Each copy of a layer, the layer itself where there is but one."""
    if not isinstance(layer, LayerChoice):
        return [layer]
    return [one for copy in (layer.first, *layer.others()) for one in copies_of(copy)]


def is_remote(layer: Layer) -> bool:
    """Whether reading a layer asks another machine. Raises ImgfsError or OSError if its stored bytes are not there."""
    first = copies_of(layer)[0]
    blob_layer = first.blob if isinstance(first, TocLayer) else first
    if not isinstance(blob_layer, BlobLayer):
        return False
    with blob_layer.open_blob() as stored:
        return stored.is_remote


def file_digests(layer: Layer, copy: str | None) -> DigestMap | None:
    """The digests of a layer's files at the places that they have in `copy`, as `Layer.open_content` has it.

    None if none are known without reading the files. Raises what opening the layer raises.
    """
    return layer.file_digests(copy) if isinstance(layer, BlobLayer | TocLayer | LayerChoice) else None


def verified_first(copy: Layer) -> Layer:
    """The copy, to be compared with the diff ID before it is read, as it is not known which of several is sound."""
    return replace(copy, is_doubtful=True) if isinstance(copy, BlobLayer) else copy
