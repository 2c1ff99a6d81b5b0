"""What a table of contents lists: the members of the layer, and the chunks that hold their content.

Formats: see `toc_pin`; both have the same JSON. Chunks are placed end to end in an order of their own: members have
their content at offsets there, not in the layer's tar. A chunk of zeros takes no place.
Tried by the tests of `toc_layer`.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

import msgspec

from imgfs.budget import SMALL, Budget
from imgfs.codec.span_table import LARGEST_SPAN, SpanTable
from imgfs.decoders import json_decoder
from imgfs.digest import Digest
from imgfs.errors import Corrupt, InvalidDigest, TooMuch
from imgfs.layers.member_list import MOST_MEMORY, MOST_OF_SMALL, MemberPacker
from imgfs.layers.toc_pin import NAME
from imgfs.tar.member import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    Member,
    member_of_file,
)
from imgfs.tar.xattrs import possible

_TYPES = {
    "dir": DIRECTORY,
    "reg": REGULAR,
    "symlink": SYMLINK,
    "hardlink": HARDLINK,
    "char": CHARACTER_DEVICE,
    "block": BLOCK_DEVICE,
    "fifo": FIFO,
}
_HIDDEN = frozenset({NAME, b".prefetch.landmark", b".no.prefetch.landmark"})
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


_ENTRY_MEMORY = 500  # bytes that an entry takes, with its short strings
_LARGEST_XATTRS = 1 << 20  # bytes of JSON; Linux lists at most 64 KiB of names, and has as much for a value
_REPLACED = "\ufffd"  # what the producers' JSON has for bytes that are not UTF-8


class _Entry(msgspec.Struct, rename="camel", gc=False):
    name: str = ""
    type: str = ""
    size: int = 0
    modtime: str = ""
    link_name: str = ""
    mode: int = 0
    uid: int = 0
    gid: int = 0
    dev_major: int = 0
    dev_minor: int = 0
    xattrs: msgspec.Raw = msgspec.Raw()
    digest: str = ""
    offset: int = 0
    chunk_offset: int = 0
    chunk_size: int = 0
    chunk_digest: str = ""
    chunk_type: str = ""
    inner_offset: int = 0


class _Table(msgspec.Struct, rename="camel"):
    version: int = 0
    entries: list[_Entry] = []
    tar_split_digest: str = ""


@dataclass
class Toc:
    """A parsed table: the members, packed for `MemberList`, and the chunks.

    `skips` are the bytes to be left out before each chunk, once decoding starts where it says. `contents` has for each
    file with content, in the order of the table, its name, size and digest.
    """

    packed: bytes
    spans: SpanTable
    skips: Sequence[int]
    split_digest: Digest | None
    contents: list[tuple[bytes, int, Digest | None, Member]] = field(default_factory=list)


class _Chunks:
    """Collects chunks, and where they lie."""

    def __init__(self, data_end: int) -> None:
        self._data_end = data_end
        self.size = 0
        self.offsets: list[int] = []
        self.starts: list[int] = []
        self.skips: list[int] = []
        self.digests = bytearray()

    def add(self, entry: _Entry, size: int) -> None:
        if size > LARGEST_SPAN:
            raise Corrupt(f"a chunk of {entry.name!r} has {size} bytes, which is too large")
        digest = _digest(entry.chunk_digest or (entry.digest if not entry.chunk_offset else ""), entry.name)
        if digest.algorithm != "sha256":
            raise Corrupt(f"a chunk of {entry.name!r} has no sha256 digest")
        if not 0 <= entry.offset < self._data_end or not 0 <= entry.inner_offset <= LARGEST_SPAN:
            raise Corrupt(f"a chunk of {entry.name!r} begins at {entry.offset}, outside of the layer's data")
        self.offsets.append(self.size)
        self.starts.append(entry.offset)
        self.skips.append(entry.inner_offset)
        self.digests += bytes.fromhex(digest.hex)
        self.size += size

    def table(self) -> SpanTable:
        """The chunks; each takes the stored bytes up to where the next one begins, wherever that stands."""
        places = sorted({*self.starts, self._data_end})
        following = dict(pairwise(places))
        ends = [following[start] for start in self.starts]
        return SpanTable(self.size, self.offsets, self.starts, ends, bytes(self.digests))


def is_hidden(member: Member) -> bool:
    """Whether a member of a layer's tar is not part of the image: the table of eStargz, and its landmarks."""
    return member.name.removeprefix(b"./") in _HIDDEN


def parse_toc(data: bytes, data_end: int, name: str) -> Toc:
    """The table in a JSON document, of a layer whose stored data ends at `data_end`.

    Raises Corrupt naming the layer by `name` if it is none, or describes what cannot be.
    """
    try:
        limit = MOST_MEMORY if len(data) >= SMALL else MOST_OF_SMALL
        Budget("its table of contents", limit).spend(data.count(b"{") * _ENTRY_MEMORY, "entries")
        table = json_decoder(_Table).decode(data)
        if table.version != 1:
            raise Corrupt(f"its table of contents has version {table.version}")
        split = _digest(table.tar_split_digest, "tar-split") if table.tar_split_digest else None
        packer, chunks = MemberPacker(len(data)), _Chunks(data_end)
        toc = Toc(b"", SpanTable(0, [], [], [], b""), chunks.skips, split)
        packer.add(_members(table.entries, chunks, toc))
        toc.packed, toc.spans = packer.finish(), chunks.table()
        return toc
    except (Corrupt, TooMuch) as error:
        raise Corrupt(f"{name}: {error}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"{name}: its table of contents does not parse: {error}") from None


def _members(entries: Sequence[_Entry], chunks: _Chunks, toc: Toc) -> Iterator[Member]:
    number = 0
    while number < len(entries):
        entry = entries[number]
        number += 1
        parts = [entry]
        while number < len(entries) and entries[number].type == "chunk":
            parts.append(entries[number])
            number += 1
        if entry.name.removeprefix("./").encode() in _HIDDEN:
            continue
        kind = _TYPES.get(entry.type)
        if kind is None:
            raise Corrupt(f"{entry.name!r} is of an unknown type, {entry.type!r}")
        yield _member(entry, kind, parts, chunks, toc)


def _member(entry: _Entry, kind: bytes, parts: Sequence[_Entry], chunks: _Chunks, toc: Toc) -> Member:
    if _REPLACED in entry.name + entry.link_name:
        raise Corrupt(f"{entry.name!r} is a name that JSON cannot hold")
    size = entry.size if kind == REGULAR else 0
    if not 0 <= size < 1 << 62 or (size == 0 and len(parts) > 1):
        raise Corrupt(f"{entry.name!r} has {entry.size} bytes")
    if not 0 <= entry.mode < 1 << 32:
        raise Corrupt(f"{entry.name!r} has mode {entry.mode}")
    member = member_of_file(
        kind,
        entry.name.encode(),
        entry.link_name.encode(),
        mode=entry.mode,
        uid=_number(entry.uid),
        gid=_number(entry.gid),
        size=size,
        mtime_ns=_nanoseconds(entry.modtime),
        device=(_number(entry.dev_major), _number(entry.dev_minor)),
        xattrs=_xattrs(entry, kind),
        is_adjusted=True,  # there are no headers to be copied
    )
    member.offset = member.header_offset = member.data_offset = chunks.size
    if size:
        extents = _add_chunks(entry, parts, chunks)
        member.stored_size = sum(length for _, length in extents)
        if member.stored_size != size:
            member.sparse = extents
        digest = _digest(entry.digest, entry.name) if entry.digest else None
        toc.contents.append((member.name, size, digest, member))
    return member


def _add_chunks(entry: _Entry, parts: Sequence[_Entry], chunks: _Chunks) -> list[tuple[int, int]]:
    """Place the chunks of a file; returns where in it they lie, those of zeros left out."""
    extents: list[tuple[int, int]] = []
    position = 0
    for number, part in enumerate(parts):
        is_last = number == len(parts) - 1
        length = part.chunk_size or (entry.size - part.chunk_offset if is_last else 0)
        if part.chunk_offset != position or not 0 < length <= entry.size - position:
            raise Corrupt(f"the chunks of {entry.name!r} do not follow each other")
        if part.chunk_type != "zeros":
            chunks.add(part, length)
            if extents and sum(extents[-1]) == position:
                extents[-1] = (extents[-1][0], extents[-1][1] + length)
            else:
                extents.append((position, length))
        position += length
    if position != entry.size:
        raise Corrupt(f"the chunks of {entry.name!r} have {position} of its {entry.size} bytes")
    return extents


def _digest(text: str, name: str) -> Digest:
    try:
        return Digest(text)
    except InvalidDigest:
        raise Corrupt(f"no digest of {name!r}") from None


def _number(value: int) -> int:
    if not 0 <= value < 1 << 32:
        raise Corrupt(f"{value} is the number of no owner or device")
    return value


def _xattrs(entry: _Entry, kind: bytes) -> dict[bytes, bytes] | None:
    raw = bytes(entry.xattrs)
    if not raw:
        return None
    if len(raw) > _LARGEST_XATTRS:
        raise Corrupt(f"the attributes of {entry.name!r} take {len(raw)} bytes")
    try:
        values = json_decoder(dict[str, str]).decode(raw)
        found = {name.encode(): base64.b64decode(value, validate=True) for name, value in values.items()}
    except (binascii.Error, ValueError):
        raise Corrupt(f"the attributes of {entry.name!r} are not in base64") from None
    return possible(found, kind) or None


def _nanoseconds(text: str) -> int:
    """A time as RFC 3339 writes it, in nanoseconds since 1970; 0 where there is none."""
    if not text:
        return 0
    match = _TIME.fullmatch(text)
    if match is None:
        raise Corrupt(f"{text!r} is no time")
    try:
        at = datetime.fromisoformat(match[1] + match[3].replace("Z", "+00:00")).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Corrupt(f"{text!r} is no time") from None
    seconds = int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    return seconds * 10**9 + int((match[2] or "").ljust(9, "0") or 0)
