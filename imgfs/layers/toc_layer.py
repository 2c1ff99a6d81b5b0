"""A layer in a registry that is read by its table of contents: its tree first, and of its data only what is asked for.

The table is pinned by a digest in the image's manifest, and has a digest of each chunk: so no byte is shown that the
image does not vouch for. It may describe another tree than the tar does, which only reading the tar can tell; so the
layer does not count as verified, and once its blob was read whole, that is what it is read from.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import ClassVar

import msgspec

from imgfs.blob import Blob, MemoryBlob, Slice, SparseBlob
from imgfs.codec import Compression
from imgfs.codec.seek_table import START
from imgfs.codec.span_cache import SpanCache
from imgfs.codec.spans import UNCOUNTED, SpanBlob, SpanStats
from imgfs.digest import ChainID, DiffID
from imgfs.errors import Corrupt, NotFound, quoted
from imgfs.layers.blob_layer import BlobLayer
from imgfs.layers.digest_map import DigestMap
from imgfs.layers.layer import check_copy
from imgfs.layers.member_list import MemberList
from imgfs.layers.toc_check import compare_contents, compare_trees
from imgfs.layers.toc_entries import Toc, is_hidden, parse_toc
from imgfs.layers.toc_pin import ExternalToc, Form, TocPin, no_external_toc, read_split, read_toc
from imgfs.tar import Member, ScannedTar, TarBlob, scan_blob
from imgfs.tar.split import FileExtent, Recipe, parse_recipe
from imgfs.tree import Tree, build_tree

logger = logging.getLogger("imgfs")

_CODECS = {Form.ESTARGZ: Compression.GZIP, Form.ZSTD_CHUNKED: Compression.ZSTD}


class TocUse(StrEnum):
    """Which tables of contents are used: none, those with a tar-split, of which the tar can be made, or any."""

    NEVER = "never"
    TARSPLIT = "tarsplit"
    ANY = "any"

    def allows(self, pin: TocPin) -> bool:
        """Whether a layer is read by the table that is pinned."""
        return self is TocUse.ANY or (self is TocUse.TARSPLIT and pin.has_split)


class _ChunkDecoder(msgspec.Struct, frozen=True):
    """Decodes chunks: each begins some bytes into what its stored bytes decode to."""

    toc: Toc
    compression: Compression

    def prepare(self, number: int) -> None:
        pass

    def decode(self, number: int, stored: Blob) -> Iterator[bytes]:
        start, end = self.toc.spans.stored_range(number)
        skip = self.toc.skips[number]
        for chunk in self.compression.codec.decode_from(Slice(stored, start, end - start), START):
            if skip < len(chunk):
                yield chunk[skip:] if skip else chunk
            skip = max(0, skip - len(chunk))


@dataclass(slots=True)
class TocLayer:
    """A `Layer` that is stored as `blob`, whose table `pin` names. Safe to use from several threads.

    Spans are kept in `spans` and counted by `stats`; `find_external` finds a table that lies in another image. What is
    wrong with the table is logged, and the blob read whole.
    """

    blob: BlobLayer
    pin: TocPin
    spans: SpanCache
    stats: SpanStats = UNCOUNTED
    find_external: ExternalToc = no_external_toc
    _toc: Toc | None = field(default=None, init=False, compare=False)
    _recipe: Recipe | None = field(default=None, init=False, compare=False)
    _failure: str = field(default="", init=False, compare=False)
    _lock: Lock = field(default_factory=Lock, init=False, compare=False)
    has_tar: ClassVar[bool] = True
    may_have_tar: ClassVar[bool] = True

    @property
    def chain_id(self) -> ChainID:
        return self.blob.chain_id

    @property
    def diff_id(self) -> DiffID:
        return self.blob.diff_id

    @property
    def parent(self) -> ChainID | None:
        return self.blob.parent

    @property
    def known_size(self) -> int | None:
        return self._recipe.size if self._recipe is not None else self.blob.known_size

    @property
    def is_verified(self) -> bool:
        return self.blob.is_verified

    @property
    def failure(self) -> str:
        """Why the table cannot be used, empty as long as it can."""
        return self._failure

    def look_for_size(self) -> int | None:
        return self.known_size or self.blob.look_for_size()

    def listed_size(self) -> int | None:
        return self.known_size or self.blob.listed_size()

    def tree(self) -> Tree:
        toc = self._usable()
        if toc is None:
            return self._tree_of_tar()
        tree = build_tree(MemberList(toc.packed), self._name)
        tree.copies[0] = self._copy
        return tree

    def open_content(self, copy: str | None = None) -> Blob:
        toc = self._usable() if copy is not None else None
        if toc is None:
            return self.blob.open_content(copy)
        check_copy(self, self._copy, copy)
        return self._content(toc)

    def file_digests(self, copy: str | None = None) -> DigestMap | None:
        """The digests of files at the places that they have in `copy`, as the table or an index has them."""
        toc = self._usable() if copy is not None else None
        if toc is None or copy != self._copy:
            return self.blob.file_digests(copy)
        return DigestMap(
            (member, bytes.fromhex(digest.hex))
            for _, _, digest, member in toc.contents
            if digest is not None and digest.algorithm == "sha256"
        )

    def open(self) -> TarBlob:
        toc = self._usable() if self.pin.has_split else None
        if toc is not None:
            try:
                return ScannedTar(_SplitTar(self._split(toc), toc, self._content(toc)))
            except Corrupt as error:
                self._give_up(error)
        return self.blob.open()

    def compare(self) -> None:
        """Compare the table with the layer's tar, all of which is read. Raises Corrupt at the first difference."""
        toc = self._read()
        if self.pin.has_split:
            self._split(toc)
        compare_trees(build_tree(MemberList(toc.packed), self._name), self._tree_of_tar(), self._name)
        with self.blob.open() as tar:
            compare_contents(toc, self.blob.members(), tar, self._name)

    @property
    def _name(self) -> str:
        blob = self.blob.stored_digest
        return f"layer {self.diff_id}{f', blob {blob}' if blob else ''}"

    @property
    def _copy(self) -> str:
        """Names the places that the tree has, which are those of chunks end to end."""
        return f"table of contents {self.pin.digest}"

    def _usable(self) -> Toc | None:
        """The table, None if it cannot be used or is not needed any more. Raises what reading raises."""
        if self._failure or self.blob.is_verified:
            return None
        try:
            return self._read()
        except Corrupt as error:
            self._give_up(error)
            return None

    def _give_up(self, error: Corrupt) -> None:
        if not self._failure:
            logger.warning("%s; all of the layer is read instead", error)
        self._failure = str(error)

    def _read(self) -> Toc:
        with self._lock:
            if self._toc is None:
                with self.blob.open_blob() as stored:
                    data, data_end = read_toc(self.pin, stored, self._name, self.spans, self._read_external)
                    self._toc = parse_toc(data, data_end, self._name)
            return self._toc

    def _read_external(self) -> bytes:
        digest = self.blob.stored_digest
        if digest is None:
            raise NotFound("the digest of its blob is not recorded")
        return self.find_external(digest)

    def _tree_of_tar(self) -> Tree:
        """The tree that the layer's tar makes, without what the table has not, as it is not part of the image."""
        members = (member for member in self.blob.members() if not is_hidden(member))
        return build_tree(members, self._name)

    def _split(self, toc: Toc) -> Recipe:
        """The recipe of the tar. Raises Corrupt if its members are not those of the table, and what reading raises."""
        with self._lock:
            if self._recipe is None:
                if toc.split_digest is None:
                    raise Corrupt(f"{self._name}: its table of contents names no tar-split")
                with self.blob.open_blob() as stored:
                    packed = read_split(self.pin, toc.split_digest, stored, self._name, self.spans)
                recipe = parse_recipe(MemoryBlob(packed), self._name)
                _check_split(recipe, toc, self._name)
                with _SplitTar(recipe, toc, SparseBlob(MemoryBlob(b""), [], toc.spans.size)) as headers:
                    of_split = build_tree(scan_blob(headers), self._name)
                compare_trees(
                    build_tree(MemberList(toc.packed), self._name), of_split, self._name, "tar-split"
                )
                self._recipe = recipe
            return self._recipe

    def _content(self, toc: Toc) -> Blob:
        return SpanBlob(
            self.blob.open_blob(),
            toc.spans,
            _ChunkDecoder(toc, _CODECS[self.pin.form]),
            self.spans,
            self._name,
            stats=self.stats,
            digest=str(self.blob.stored_digest or ""),
        )


class _SplitTar(Blob):
    """A tar made of a recipe's literal bytes and the chunks of its files."""

    def __init__(self, recipe: Recipe, toc: Toc, content: Blob) -> None:
        self._recipe = recipe
        self._contents = toc.contents
        self._content = content

    @property
    def size(self) -> int:
        return self._recipe.size

    def pread(self, size: int, offset: int) -> bytes:
        return self._recipe.read(size, offset, self._read_file)

    def close(self) -> None:
        self._content.close()

    def _read_file(self, extent: FileExtent, start: int, end: int) -> bytes:
        return _file_bytes(self._content, self._contents[extent.number][3], start, end)


def _file_bytes(content: Blob, member: Member, start: int, end: int) -> bytes:
    """The bytes of a file from `start` to `end`; chunks of zeros are not among its content."""
    if member.sparse is None:
        return content.pread(end - start, member.data_offset + start)
    data = bytearray(end - start)
    place = member.data_offset
    for offset, length in member.sparse:
        first, last = max(start, offset), min(end, offset + length)
        if first < last:
            data[first - start : last - start] = content.pread(last - first, place + first - offset)
        place += length
    return bytes(data)


def _check_split(recipe: Recipe, toc: Toc, name: str) -> None:
    """Raise Corrupt unless a recipe has the files that a table has, in its order."""
    if recipe.doubtful:
        raise Corrupt(f"{name}: its tar-split has files whose place in the tar is not known")
    number = 0
    for number, extent in enumerate(recipe.files(0, recipe.size), 1):
        known: Sequence[object] = toc.contents[number - 1][:2] if number <= len(toc.contents) else ()
        if known != (extent.name, extent.size):
            raise Corrupt(f"{name}: its tar-split and its table of contents differ at {quoted(extent.name)}")
    if number != len(toc.contents):
        raise Corrupt(
            f"{name}: its tar-split lacks {quoted(toc.contents[number][0])} of its table of contents"
        )
