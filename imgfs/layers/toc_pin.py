"""The table of contents of a layer, where the layer's own descriptor names it by a digest, and how it is fetched.

Formats: eStargz (stargz-snapshotter, docs/estargz.md), whose table lies where the blob's last bytes say, or in an image
of its own, and is pinned by the digest of its JSON; zstd:chunked (containers/storage, pkg/chunked), whose annotations
have the place and the digest of the compressed table, under two prefixes, and in the newer one the place of a
tar-split.
Tried by the tests of `toc_layer`.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from enum import Enum

import msgspec

from imgfs.blob import Blob, MemoryBlob
from imgfs.budget import MIB
from imgfs.codec import Compression, open_forward
from imgfs.codec.span_cache import SpanCache
from imgfs.codec.zstd_module import unpack
from imgfs.digest import Digest
from imgfs.errors import Corrupt, InvalidDigest, NotFound

_STARGZ = "containerd.io/snapshot/stargz/toc.digest"
_CHUNKED = ("io.github.containers.zstd-chunked.", "io.containers.zstd-chunked.")
_CHECKSUM, _POSITION, _TAR_SPLIT = "manifest-checksum", "manifest-position", "tarsplit-position"
_LARGEST = 150 * MIB  # bytes of a table, decoded; as containers/storage has it
_LARGEST_STORED = 64 * MIB
_LARGEST_SPLIT = 512 * MIB
_TAIL = 64 << 10  # bytes that are read at the end of a blob, in which a small table is besides its footer
_FOOTER, _OLD_FOOTER, _EXTERNAL_FOOTER = 51, 47, 46  # bytes
_EXTERNAL = b"SG\x11\x00STARGZEXTERNALTOC"
_PLACE = re.compile(rb"([0-9a-f]{16})STARGZ")
_NUMBERS = re.compile(r"\d{1,18}(?::\d{1,18}){2,3}")
_TAR_HEADER = 512
NAME = b"stargz.index.json"
"""The member of an eStargz layer that is its table."""

ExternalToc = Callable[[Digest], bytes]
"""Returns the compressed table of the layer whose blob has a digest, from another image. Raises ImgfsError."""


def no_external_toc(layer: Digest) -> bytes:
    """Raises NotFound, as there is no other image."""
    raise NotFound(f"no image has the one of {layer}")


class Form(Enum):
    """How a layer with a table of contents is stored."""

    ESTARGZ = "eStargz"
    ZSTD_CHUNKED = "zstd:chunked"


class TocPin(msgspec.Struct, frozen=True):
    """What a layer's descriptor says of its table of contents: its digest and, of zstd:chunked, its place.

    `digest` is that of the JSON itself, or of zstd:chunked, of the compressed table. Places are the offset and the size
    of the compressed bytes, and the size of the bytes in them. `json_digest` is that of the JSON where zstd:chunked has
    one, too.
    """

    form: Form
    digest: Digest
    place: tuple[int, int, int] | None = None
    split_place: tuple[int, int, int] | None = None
    json_digest: Digest | None = None

    @property
    def has_split(self) -> bool:
        """Whether the layer's tar can be made of its chunks."""
        return self.split_place is not None


def pin_of(annotations: Mapping[str, object]) -> TocPin | None:
    """What the annotations of a layer's descriptor pin, None if they pin nothing that can be used.

    ctr-remote writes both kinds of digest for zstd:chunked, of the same table. containers/storage refuses layers with
    both, as two readers could be shown two tables; so here one table must have both digests.
    """
    of_json = _digest(annotations, _STARGZ)
    for prefix in _CHUNKED:
        digest, place = _digest(annotations, prefix + _CHECKSUM), _place(annotations, prefix + _POSITION)
        if digest is not None and place is not None:
            return TocPin(Form.ZSTD_CHUNKED, digest, place, _place(annotations, prefix + _TAR_SPLIT), of_json)
    return None if of_json is None else TocPin(Form.ESTARGZ, of_json)


def read_toc(
    pin: TocPin, stored: Blob, name: str, cache: SpanCache, find_external: Callable[[], bytes]
) -> tuple[bytes, int]:
    """The JSON of the table of a layer that is stored in `stored`, verified, and where the layer's data ends.

    It is kept in `cache`, without where the data of eStargz ends: then that is where the blob does. `find_external` is
    called if it lies in an image of its own. Raises Corrupt naming the layer by `name`, and what reading raises.
    """
    try:
        if pin.form is Form.ESTARGZ:
            return _read_estargz(pin, stored, cache, find_external)
        return _read_chunked(pin, stored, cache)
    except Corrupt as error:
        raise Corrupt(f"{name}: its table of contents cannot be used: {error}") from None


def read_split(pin: TocPin, digest: Digest, stored: Blob, name: str, cache: SpanCache) -> bytes:
    """The tar-split of a layer, whose compressed bytes have the digest that the table names. Raises as `read_toc`."""
    if pin.split_place is None:
        raise Corrupt(f"{name}: it has no tar-split")
    offset, size, length = pin.split_place
    if size > _LARGEST_STORED or length > _LARGEST_SPLIT:
        raise Corrupt(f"{name}: a tar-split of {length} bytes is too large")
    packed = cache.find(digest, size)
    if packed is None:
        packed = stored.pread(size, offset)
        if not digest.is_of(packed):
            raise Corrupt(f"{name}: failed to verify, its tar-split is not {digest}")
        cache.keep(digest, packed)
    return unpack(packed, length, f"{name}: its tar-split")


def _read_chunked(pin: TocPin, stored: Blob, cache: SpanCache) -> tuple[bytes, int]:
    offset, size, length = pin.place or (0, 0, 0)
    if size > _LARGEST_STORED or length > _LARGEST or offset + size > stored.size:
        raise Corrupt(f"{size} bytes at {offset} that hold {length} are too large, or not in the blob")
    packed = cache.find(pin.digest, size)
    if packed is None:
        packed = stored.pread(size, offset)
        if not pin.digest.is_of(packed):
            raise Corrupt(f"failed to verify, it is not {pin.digest}")
        cache.keep(pin.digest, packed)
    data = unpack(packed, length, "it")
    if pin.json_digest is not None and not pin.json_digest.is_of(data):
        raise Corrupt(f"the layer names two tables, of which {pin.json_digest} is another one")
    # what lies behind the data, each with a header of eight bytes, begins with the table or the tar-split
    places = [offset, *([pin.split_place[0]] if pin.split_place else [])]
    return data, max(0, min(places) - 8)


def _read_estargz(
    pin: TocPin, stored: Blob, cache: SpanCache, find_external: Callable[[], bytes]
) -> tuple[bytes, int]:
    known = cache.find(pin.digest, None)
    if known is not None:
        return known, stored.size
    start = max(0, stored.size - _TAIL)
    tail = stored.pread(_TAIL, start)
    if _is_external(tail):
        try:
            packed, offset = find_external(), stored.size - _EXTERNAL_FOOTER
        except NotFound as error:
            raise Corrupt(f"it is in an image of its own: {error}") from None
    else:
        packed, offset = _inner_table(tail, stored)
    data = _unpacked(packed)
    if not pin.digest.is_of(data):
        raise Corrupt(f"failed to verify, it is not {pin.digest}")
    cache.keep(pin.digest, data)
    return data, offset


def _inner_table(tail: bytes, stored: Blob) -> tuple[bytes, int]:
    """The compressed table in an eStargz blob that ends with `tail`, and where it begins."""
    start = stored.size - len(tail)
    offset = _footer(tail)
    if not 0 < offset < stored.size:
        raise Corrupt(f"its last bytes say that it begins at {offset}, outside of the blob")
    size = stored.size - offset
    if size > _LARGEST_STORED:
        raise Corrupt(f"{size} bytes are too many")
    return tail[offset - start :] if offset >= start else stored.pread(size, offset), offset


def _unpacked(packed: bytes) -> bytes:
    """The JSON of a compressed table, which is a tar with one member."""
    member = open_forward(MemoryBlob(packed), Compression.GZIP)
    header = member.pread(_TAR_HEADER, 0)
    try:
        length = int(header[124:136].strip(b" \0") or b"0", 8)
    except ValueError:
        raise Corrupt("no tar header where it is due") from None
    if not header.startswith(NAME + b"\0") or length > _LARGEST:
        raise Corrupt(f"{length} bytes are too many, or it is not called {NAME.decode()}")
    return member.pread(length, _TAR_HEADER)


def _is_external(tail: bytes) -> bool:
    """Whether the last bytes of a blob say that its table is in another image."""
    footer = tail[-_EXTERNAL_FOOTER:]
    return footer.startswith(b"\x1f\x8b\x08\x04") and _EXTERNAL in footer


def _footer(tail: bytes) -> int:
    """Where the table begins, as the empty gzip member at the end of an eStargz blob says in its extra field."""
    for size in (_FOOTER, _OLD_FOOTER):
        footer = tail[-size:]
        match = _PLACE.search(footer)
        if footer.startswith(b"\x1f\x8b\x08\x04") and match is not None:
            try:
                if not zlib.decompressobj(-zlib.MAX_WBITS).decompress(footer[match.end() :]):
                    return int(match[1], 16)
            except zlib.error:
                continue
    raise Corrupt("the blob does not end as eStargz does")


def _digest(annotations: Mapping[str, object], key: str) -> Digest | None:
    try:
        return Digest(str(annotations.get(key)))
    except InvalidDigest:
        return None


def _place(annotations: Mapping[str, object], key: str) -> tuple[int, int, int] | None:
    text = str(annotations.get(key, ""))
    if not _NUMBERS.fullmatch(text):
        return None
    offset, size, length = map(int, text.split(":")[:3])
    return offset, size, length
