"""Finding the members of a tar by walking its headers; data is skipped, not looked at.

`Scanner` takes the bytes as they come and knows nothing of where from; `scan_blob` seeks over data. Formats: V7,
ustar, pax and GNU tar (see `fields`, `pax`, `sparse`); where they leave a choice, moby's reader, Go's
archive/tar, is followed, since it is what unpacks layers.
"""

import logging
import struct
from collections.abc import Iterator

from imgfs.blob import Blob
from imgfs.errors import Corrupt
from imgfs.tar import pax, sparse
from imgfs.tar.fields import BLOCK, checksum_matches, number, padded, text
from imgfs.tar.member import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    GNU_SPARSE,
    HARDLINK,
    OLD_REGULAR,
    SYMLINK,
    Member,
)

logger = logging.getLogger("imgfs")

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_ZEROS = bytes(BLOCK)
_USTAR = b"ustar\x0000"
_NO_DATA = frozenset((HARDLINK, SYMLINK, CHARACTER_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO))
_MAX_EXTENSION = 8 << 20  # bytes of one extended header, or of one sparse map
_MAX_SIZE = 1 << 60
_READ_SIZE = 64 << 10

# where GNU tar's old sparse format keeps its map, and in extension blocks
_SPARSE_AREA, _SPARSE_ENTRIES, _SPARSE_MORE, _SPARSE_REALSIZE = 386, 4, 482, slice(483, 495)
_EXTENSION_ENTRIES, _EXTENSION_MORE = 21, 504


class _NeedMore(Exception):
    pass


class Scanner:
    """Takes a tar in pieces, in order, and answers its members.

    `ending` is the offset of the first zero block where a header is due, once it was seen. `wanted` is the offset
    of the byte it needs next: what lies before may be left out, see `skip_to`. Holds no more than a header and
    its extensions, which are limited to some MiB. The first byte fed is that at offset `start`, where a header is due.
    """

    def __init__(self, start: int = 0) -> None:
        self.ending: int | None = None
        self.position = start
        self.wanted = start
        self._pending = b""
        self._first: int | None = None  # where the extensions of the next member begin
        self._global: pax.Records = {}
        self._local: pax.Records = {}
        self._long_name: bytes | None = None
        self._long_link: bytes | None = None

    def feed(self, chunk: bytes | memoryview) -> list[Member]:
        """Take the bytes that come next; answers the members whose headers are complete by now.

        Raises Corrupt, naming the offset, where what should be a header is none.
        """
        base = self.position - len(self._pending)
        data = self._pending + chunk if self._pending else bytes(chunk)
        self.position += len(chunk)
        self._pending = b""
        members: list[Member] = []
        end = len(data)
        while self.ending is None:
            place = self.wanted - base
            if place + BLOCK > end:
                if place < end:
                    self._pending = data[place:]
                break
            block = data[place : place + BLOCK]
            if block == _ZEROS:
                self.ending = self.wanted
                break
            try:
                member = self._header(block, data, place)
            except _NeedMore:
                if end - place > 2 * _MAX_EXTENSION:
                    raise Corrupt(
                        f"tar header at offset {self.wanted}: its extensions are too long"
                    ) from None
                self._pending = data[place:]
                break
            except ValueError as error:
                raise Corrupt(f"tar header at offset {self.wanted}: {error}") from None
            if member is not None:
                members.append(member)
        return members

    def skip_to(self, offset: int) -> None:
        """Say that the bytes up to `offset`, at most `wanted`, are not going to be fed."""
        if not self._pending and self.position < offset <= self.wanted:
            self.position = offset

    def finish(self) -> None:
        """Say that all has been fed. Raises Corrupt if the tar stops in the middle of a member."""
        if self.ending is None and (self._pending or self._first is not None or self.wanted > self.position):
            raise Corrupt(f"tar is cut off at offset {self.position}")

    def _header(self, block: bytes, data: bytes, place: int) -> Member | None:
        """Take the header at `place`; None if it extends the one to come."""
        fields = _HEADER.unpack(block)
        if not checksum_matches(block, fields[6]):
            raise ValueError("wrong checksum")
        kind = fields[7]
        if kind in b"xgLK":
            self._extension(kind, number(fields[4]), data, place + BLOCK)
            return None
        return self._member(block, fields, data, place)

    def _extension(self, kind: bytes, size: int, data: bytes, start: int) -> None:
        if not 0 <= size <= _MAX_EXTENSION:
            raise ValueError(f"an extended header of {size} bytes")
        if start + padded(size) > len(data):
            raise _NeedMore
        payload = data[start : start + size]
        if kind == b"x":
            self._local = pax.parse_records(payload)
        elif kind == b"g":
            self._global |= pax.parse_records(payload)
            self._global.pop(b"comment", None)
            if sum(len(key) + len(value) for key, value in self._global.items()) > _MAX_EXTENSION:
                raise ValueError("too many global records")
        elif kind == b"L":
            self._long_name = text(payload)
        else:
            self._long_link = text(payload)
        if kind != b"g" and self._first is None:
            self._first = self.wanted
        self.wanted += BLOCK + padded(size)

    def _member(self, block: bytes, fields: tuple[bytes, ...], data: bytes, place: int) -> Member:
        (name, mode, uid, gid, size, mtime, _, kind, link, magic, uname, gname, major, minor, prefix) = fields
        name, link = text(name), text(link)
        if magic == _USTAR and prefix[0]:
            name = text(prefix) + b"/" + name
        if self._long_name is not None:
            name = self._long_name
        if self._long_link is not None:
            link = self._long_link
        is_device = kind in (CHARACTER_DEVICE, BLOCK_DEVICE)
        member = Member(
            self.wanted if self._first is None else self._first,
            self.wanted,
            self.wanted + BLOCK,
            0 if kind in _NO_DATA else number(size),
            0,
            kind,
            name,
            link,
            number(mode) & 0o7777,
            number(uid),
            number(gid),
            text(uname) if magic[:5] == b"ustar" else b"",
            text(gname) if magic[:5] == b"ustar" else b"",
            number(mtime) * 1_000_000_000,
            number(major) if is_device else 0,
            number(minor) if is_device else 0,
        )
        if self._local or self._global:
            self._apply(member, self._global | self._local)
            member.inherits = bool(self._global)
        if not 0 <= member.stored_size <= _MAX_SIZE:
            raise ValueError(f"a size of {member.stored_size} bytes")
        if kind == OLD_REGULAR and member.name.endswith(b"/"):
            member.type = DIRECTORY
        after = member.data_offset + padded(member.stored_size)
        member.size = member.stored_size
        if kind == GNU_SPARSE:
            after += self._old_sparse(member, block, data, place + BLOCK)
        elif self._local.get(b"GNU.sparse.major") == b"1":
            self._leading_sparse(member, data, place + BLOCK)
        elif pax.SPARSE_MAP in self._local:
            self._mapped_sparse(member)
        self._first = None
        self._long_name = self._long_link = None
        self._local = {}
        self.wanted = after
        return member

    def _apply(self, member: Member, records: pax.Records) -> None:
        """What extended headers say goes before what the header says; an empty value says nothing."""
        for keyword, value in records.items():
            match keyword:
                case b"path" if value:
                    member.name = value
                case b"linkpath" if value:
                    member.linkname = value
                case b"size" if value and member.type not in _NO_DATA:
                    member.stored_size = pax.decimal(value)
                case b"uid" if value:
                    member.uid = pax.decimal(value)
                case b"gid" if value:
                    member.gid = pax.decimal(value)
                case b"uname" if value:
                    member.uname = value
                case b"gname" if value:
                    member.gname = value
                case b"mtime" if value:
                    member.mtime_ns = pax.nanoseconds(value)
                case b"GNU.sparse.name" if value:
                    member.name = value
        if b"GNU.sparse.name" in records:
            member.name = records[b"GNU.sparse.name"]
        member.xattrs = pax.xattrs(records)

    def _old_sparse(self, member: Member, block: bytes, data: bytes, place: int) -> int:
        """Read the map of a member of type S; answers how many bytes of extension blocks lie before its data."""
        numbers = sparse.old_numbers(block[_SPARSE_AREA:], _SPARSE_ENTRIES)
        more = block[_SPARSE_MORE]
        start = place
        while more:
            extension = data[place : place + BLOCK]
            if len(extension) < BLOCK:
                raise _NeedMore
            numbers += sparse.old_numbers(extension, _EXTENSION_ENTRIES)
            more = extension[_EXTENSION_MORE]
            place += BLOCK
        member.data_offset += place - start
        member.size = number(block[_SPARSE_REALSIZE])
        member.sparse = sparse.checked(numbers, member.size, member.stored_size)
        return place - start

    def _leading_sparse(self, member: Member, data: bytes, place: int) -> None:
        available = data[place : place + min(member.stored_size, 2 * _MAX_EXTENSION)]
        found = sparse.leading_map(available)
        if found is None:
            if len(available) == member.stored_size:
                raise ValueError("a sparse map that is cut off")
            raise _NeedMore
        numbers, length = found
        member.size = pax.decimal(self._local.get(b"GNU.sparse.realsize", b""))
        member.data_offset += length
        member.stored_size -= length
        member.sparse = sparse.checked(numbers, member.size, member.stored_size)

    def _mapped_sparse(self, member: Member) -> None:
        numbers = [pax.decimal(value) for value in self._local[pax.SPARSE_MAP].split(b",") if value]
        size = self._local.get(b"GNU.sparse.size", self._local.get(b"GNU.sparse.realsize", b""))
        member.size = pax.decimal(size)
        member.sparse = sparse.checked(numbers, member.size, member.stored_size)


def scan_blob(blob: Blob) -> Iterator[Member]:
    """The members of a tar, reading headers and seeking over data.

    Raises Corrupt where a header is none or the tar is cut off, and what reading raises.
    """
    scanner = Scanner()
    while scanner.ending is None:
        scanner.skip_to(scanner.wanted)
        chunk = blob.pread(_READ_SIZE, scanner.position)
        if not chunk:
            break
        yield from scanner.feed(chunk)
    if scanner.wanted > blob.size:
        raise Corrupt(f"tar is cut off at offset {blob.size}")
    if scanner.position >= blob.size:
        scanner.finish()


def sound_members(blob: Blob, name: str) -> list[Member]:
    """The members of a tar up to where it is damaged, which is logged with `name`. Raises what reading raises."""
    members: list[Member] = []
    try:
        members.extend(scan_blob(blob))  # keeps what came before an error
    except Corrupt as error:
        logger.warning("%s: not all of its members can be read: %s", name, error)
    return members
