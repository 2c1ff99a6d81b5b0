"""Finding the members of a tar by walking its headers; data is skipped.

`Scanner` takes the bytes as they come; `scan_blob` seeks over data. Formats: V7, ustar, star, pax and GNU tar (see
`dialects`, `fields`, `pax`, `sparse_map`). Go's archive/tar, which unpacks layers, is followed field by field and in
what it rejects, with these exceptions:

| | Go | here | as |
|---|---|---|---|
| type X | a member of unknown type, which no engine unpacks | extended header, as type x | GNU tar, bsdtar, Python |
| one zero block, then others | error | the ending, as is one zero block alone | GNU tar, Python |
| attribute with an empty value | not in `Xattrs`, but in `PAXRecords`, which engines use today | kept | containerd |
| sparse map of format 1.0 | before Go 1.25, of any size | at most 1 MiB | Go 1.25 |
"""

from collections.abc import Iterator
from functools import lru_cache

from imgfs.blob import Blob
from imgfs.errors import Corrupt
from imgfs.tar import pax, sparse_map
from imgfs.tar.dialects import HEADER, common, old_sparse_size
from imgfs.tar.fields import (
    BLOCK,
    checksum_matches,
    is_possible,
    nanoseconds,
    number,
    possible_owner,
    possible_time,
    text,
)
from imgfs.tar.member import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    CONTIGUOUS,
    DIRECTORY,
    GNU_SPARSE,
    NO_DATA,
    OLD_REGULAR,
    Member,
)

FOLLOWED = "data follows the block of zeros that ends it"
"""The beginning of the message about a tar that continues after a lone block of zeros; tar tools stop there."""

_ZEROS = bytes(BLOCK)
_GLOBAL, _LONG_NAME, _LONG_LINK = b"g", b"L", b"K"
_EXTENSIONS = frozenset((b"x", b"X", _GLOBAL, _LONG_NAME, _LONG_LINK))
_PLAIN_EXTENSIONS = frozenset((b"", b"x", _LONG_NAME, _LONG_LINK, b"LK", b"KL"))
"""The types of extensions of one member that all tar tools put together alike."""
_DEVICES = frozenset((CHARACTER_DEVICE, BLOCK_DEVICE))
_MAX_EXTENSION = 1 << 20  # bytes of one extended header
_MAX_MAP = 2 << 20  # bytes of one sparse map, in blocks of their own
_MAX_SIZE = 1 << 60
_READ_SIZE = 32 << 10

Bytes = bytes | memoryview
_Map = sparse_map.OldMap | sparse_map.LeadingMap


class _NeedMore(Exception):
    pass


class Scanner:
    """Takes a tar in pieces, in order, and returns its members.

    `ending` is the offset of the first zero block where a header is due, once it was seen. `wanted` is the offset of
    the next byte that it needs: bytes before that may be skipped, see `skip_to`. Holds at most a header and its
    extensions, which are limited to some MiB. The first byte fed is at offset `start`, where a header is due.
    """

    def __init__(self, start: int = 0) -> None:
        self.ending: int | None = None
        self.position = start
        self.wanted = start
        self._pending = b""
        self._needed = start  # where the data of the last header ends: only padding may be cut off
        self._mapped: tuple[Member, _Map] | None = None  # a member whose map is not complete
        self._failure: Corrupt | None = None
        self._begin(start)

    def _begin(self, offset: int) -> None:
        """Forget the extensions of the last member; the next one begins at `offset`, its extensions included."""
        self._first = offset
        self._local: pax.Records = {}
        self._long_name = self._long_link = b""
        self._extensions = b""  # their types

    def feed(self, chunk: bytes | memoryview) -> list[Member]:
        """Take the bytes that come next; returns the members whose headers are complete by now.

        At a block that should be a header and is not, returns those before it; the next call raises Corrupt, naming
        the offset.
        """
        if self._failure is not None:
            raise self._failure
        base = self.position - len(self._pending)
        self.position += len(chunk)
        members: list[Member] = []
        if self.ending is not None or (not self._pending and self.wanted >= self.position):
            return members  # nearly all of a tar is data
        data = self._pending + chunk if self._pending else chunk
        self._pending = b""
        end = len(data)
        while self.ending is None:
            place = self.wanted - base
            if place + BLOCK > end:
                if place < end:
                    self._pending = bytes(data[place:])
                break
            block = bytes(data[place : place + BLOCK])
            if block == _ZEROS and self._mapped is None:
                self.ending = self.wanted
                break
            try:
                if self._mapped is not None:
                    member = self._map_block(*self._mapped, block)
                else:
                    fields = HEADER.unpack(block)
                    if not checksum_matches(block, fields[4]):
                        raise ValueError("wrong checksum")
                    if fields[5] in _EXTENSIONS:
                        self._extension(fields, data, place + BLOCK)
                        continue
                    member = self._member(block, fields)
                if member is not None:
                    members.append(member)
            except _NeedMore:
                self._pending = bytes(data[place:])
                break
            except ValueError as error:
                self._fail(str(error))
                break
        return members

    @property
    def begun(self) -> Member | None:
        """The member whose sparse map follows its header and is not complete yet."""
        return self._mapped[0] if self._mapped else None

    def skip_to(self, offset: int) -> None:
        """Skip the bytes up to `offset`, at most `wanted`."""
        if not self._pending and self.position < offset <= self.wanted:
            self.position = offset

    def finish(self, size: int | None = None) -> None:
        """End the scan of a tar of `size` bytes, needed if the last of them were skipped.

        Raises Corrupt as `feed` does, and if the tar stops in the middle of a header or of data. Padding may be
        missing at its end, and the member that extensions belong to.
        """
        if self._failure is not None:
            raise self._failure
        end = self.position if size is None else size
        if self.ending is None and (self._pending or self._mapped is not None or self._needed > end):
            raise Corrupt(f"tar is cut off at offset {end}")

    def _fail(self, why: str) -> None:
        self._failure = Corrupt(f"tar header at offset {self.wanted}: {why}")

    def _extension(self, fields: tuple[bytes, ...], data: Bytes, start: int) -> None:
        _, ownership, size_field, mtime, _, kind, _, newer = fields
        size = _extension_size(ownership, size_field, mtime, newer)
        if start + size > len(data):
            raise _NeedMore
        payload = bytes(data[start : start + size])
        self._needed = self.wanted + BLOCK + size
        self.wanted += BLOCK + size + -size % BLOCK
        self._extensions += kind
        if kind == _LONG_NAME:
            self._long_name = text(payload)
        elif kind == _LONG_LINK:
            self._long_link = text(payload)
        else:
            records = pax.parse_records(payload)
            if kind == _GLOBAL:  # Go ignores it, and the extensions before it
                self._begin(self.wanted)
            else:
                self._local = records

    def _member(self, block: bytes, fields: tuple[bytes, ...]) -> Member | None:
        name, ownership, size, mtime, _, kind, link, newer = fields
        mode, uid, gid, uname, gname, major, minor, prefix, is_plain = common(ownership, newer)
        if kind not in _DEVICES:
            major = minor = 0
        wanted = self.wanted
        recorded = number(size)
        stored = 0 if kind in NO_DATA else _plausible(recorded)
        member = Member(
            self._first,
            wanted,
            wanted + BLOCK,
            stored,
            stored,
            kind,
            prefix + text(name),
            text(link) if link[0] else b"",
            mode,
            uid,
            gid,
            uname,
            gname,
            nanoseconds(mtime),
            major,
            minor,
        )
        records = self._local
        if records:
            pax.apply(member, records)
        if self._long_name:
            member.name = self._long_name
        if self._long_link:
            member.linkname = self._long_link
        if kind == OLD_REGULAR and member.name.endswith(b"/"):
            member.type = DIRECTORY
            member.stored_size = 0
        if not is_possible(member.uid, member.gid, member.mtime_ns):
            _adjust(member)
        if (
            member.stored_size != recorded
            or not (is_plain or kind == GNU_SPARSE)
            or kind == CONTIGUOUS
            or self._extensions not in _PLAIN_EXTENSIONS
        ):
            member.is_adjusted = True
        if member.stored_size != stored:
            member.size = _plausible(member.stored_size)
        if kind == GNU_SPARSE:
            member.size = _plausible(old_sparse_size(block))
            return self._with_map(member, sparse_map.OldMap(block))
        found = sparse_map.in_records(records) if records else None
        if found is not None:
            if member.type in NO_DATA:
                raise ValueError("a sparse file of a type that has no data")
            member.name = found.name or member.name
            member.size = member.size if found.size is None else _plausible(found.size)
            if found.numbers is None:
                return self._with_map(member, sparse_map.LeadingMap())
            member.sparse = sparse_map.checked(found.numbers, member.size, member.stored_size)
        self._end(member)
        return member

    def _map_block(self, member: Member, parts: _Map, block: bytes) -> Member | None:
        """Take the next block of a member's map; returns the member if that was the last."""
        parts.take(block)
        member.data_offset += BLOCK
        if member.type != GNU_SPARSE:  # the map is part of what is stored
            member.stored_size -= BLOCK
        if member.stored_size < 0:
            raise ValueError("a sparse map that is cut off")
        if member.data_offset - member.header_offset > _MAX_MAP:
            raise ValueError("a sparse map that is too long")
        return self._with_map(member, parts)

    def _with_map(self, member: Member, parts: _Map) -> Member | None:
        if not parts.complete:
            self._mapped = member, parts
            self.wanted = member.data_offset
            return None
        self._mapped = None
        member.sparse = sparse_map.checked(parts.numbers, member.size, member.stored_size)
        self._end(member)
        return member

    def _end(self, member: Member) -> None:
        size = member.stored_size
        self._needed = member.data_offset + size
        self.wanted = member.data_offset + size + -size % BLOCK
        self._begin(self.wanted)


@lru_cache(1024)  # the extended headers that one program writes have these in common
def _extension_size(ownership: bytes, size: bytes, mtime: bytes, newer: bytes) -> int:
    """The size of an extended header, all of whose fields have to be valid."""
    found = number(size)
    if not 0 <= found <= _MAX_EXTENSION:
        raise ValueError(f"an extended header of {found} bytes")
    common(ownership, newer)
    nanoseconds(mtime)
    return found


def _adjust(member: Member) -> None:
    """Replace an owner or a time that no file can have."""
    member.uid, member.gid = possible_owner(member.uid), possible_owner(member.gid)
    member.mtime_ns = possible_time(member.mtime_ns)
    member.is_adjusted = True


def _plausible(size: int) -> int:
    if not 0 <= size <= _MAX_SIZE:
        raise ValueError(f"a size of {size} bytes")
    return size


def scan_blob(blob: Blob, *, as_engines: bool = False) -> Iterator[Member]:
    """The members of a tar, reading headers and seeking over data.

    Raises Corrupt at a damaged header or if the tar is cut off, and what reading raises; with `as_engines`, also if
    data follows a lone block of zeros, once the members before that were returned.
    """
    scanner = Scanner()
    while scanner.ending is None:
        scanner.skip_to(scanner.wanted)
        chunk = blob.pread(_READ_SIZE, scanner.position)
        if not chunk:
            break
        yield from scanner.feed(chunk)
    scanner.finish(blob.size)
    if as_engines and scanner.ending is not None and any(blob.pread(BLOCK, scanner.ending + BLOCK)):
        raise Corrupt(f"{FOLLOWED}, at offset {scanner.ending}")
