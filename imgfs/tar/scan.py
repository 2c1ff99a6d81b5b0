"""Finding the members of a tar by walking its headers; data is skipped, not looked at.

`Scanner` takes the bytes as they come and knows nothing of where from; `scan_blob` seeks over data. Formats: V7,
ustar, pax and GNU tar (see `fields`, `pax`, `sparse`); where they leave a choice, moby's reader, Go's
archive/tar, is followed, since it is what unpacks layers.
"""

import logging
import struct
from collections.abc import Iterator
from functools import lru_cache

from imgfs.blob import Blob
from imgfs.errors import Corrupt
from imgfs.tar import pax, sparse
from imgfs.tar.fields import BLOCK, checksum_matches, nanoseconds, number, padded, possible_owner, text
from imgfs.tar.member import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    GNU_SPARSE,
    NO_DATA,
    OLD_REGULAR,
    Member,
)

logger = logging.getLogger("imgfs")

# name, owner and mode, size, mtime, checksum, type, linkname, and what only newer formats have
_HEADER = struct.Struct("100s24s12s12s8sc100s255s")
_OWNERSHIP = struct.Struct("8s8s8s")  # mode, uid, gid
_NEWER = struct.Struct("8s32s32s8s8s155s12x")  # magic, uname, gname, devmajor, devminor, prefix
_ZEROS = bytes(BLOCK)
_USTAR = b"ustar\x0000"
_EXTENSIONS = frozenset((b"x", b"g", b"L", b"K"))
_DEVICES = frozenset((CHARACTER_DEVICE, BLOCK_DEVICE))
_MAX_EXTENSION = 1 << 20  # bytes of one extended header; Go's reader takes no more
_MAX_MAP = 2 << 20  # bytes of one sparse map
_MAX_SIZE = 1 << 60
_READ_SIZE = 32 << 10
_SPARSE_SIZE = slice(483, 495)  # where GNU tar's old sparse format says how long a file is

Bytes = bytes | memoryview
_Map = sparse.OldMap | sparse.LeadingMap


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
        self._first = start  # where the next member begins, its extensions included
        self._local: pax.Records = {}
        self._long_name: bytes | None = None
        self._long_link: bytes | None = None
        self._mapped: tuple[Member, _Map] | None = None  # a member whose map goes on
        self._failure: Corrupt | None = None

    def feed(self, chunk: bytes | memoryview) -> list[Member]:
        """Take the bytes that come next; answers the members whose headers are complete by now.

        Where what should be a header is none, answers those before it; the next call raises Corrupt, naming the offset.
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
                    fields = _HEADER.unpack(block)
                    if not checksum_matches(block, fields[4]):
                        raise ValueError("wrong checksum")
                    if fields[5] in _EXTENSIONS:
                        self._extension(fields[5], number(fields[2]), data, place + BLOCK)
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

    def skip_to(self, offset: int) -> None:
        """Say that the bytes up to `offset`, at most `wanted`, are not going to be fed."""
        if not self._pending and self.position < offset <= self.wanted:
            self.position = offset

    def finish(self) -> None:
        """Say that all has been fed. Raises Corrupt as `feed` does, and if the tar stops in the middle of a member."""
        if self._failure is not None:
            raise self._failure
        if self.ending is None and (
            self._pending or self._first < self.wanted or self.wanted > self.position
        ):
            raise Corrupt(f"tar is cut off at offset {self.position}")

    def _fail(self, why: str) -> None:
        self._failure = Corrupt(f"tar header at offset {self.wanted}: {why}")

    def _extension(self, kind: bytes, size: int, data: Bytes, start: int) -> None:
        if not 0 <= size <= (_MAX_SIZE if kind == b"g" else _MAX_EXTENSION):
            raise ValueError(f"an extended header of {size} bytes")
        length = padded(size)
        if kind == b"g":  # what unpacks layers takes nothing from global headers
            if self._first == self.wanted:
                self._first += BLOCK + length
            self.wanted += BLOCK + length
            return
        if start + length > len(data):
            raise _NeedMore
        payload = bytes(data[start : start + size])
        if kind == b"x":
            self._local = pax.parse_records(payload)
        elif kind == b"L":
            self._long_name = text(payload)
        else:
            self._long_link = text(payload)
        self.wanted += BLOCK + length

    def _member(self, block: bytes, fields: tuple[bytes, ...]) -> Member | None:
        name, ownership, size, mtime, _, kind, link, newer = fields
        mode, uid, gid, uname, gname, major, minor, prefix = _common(ownership, newer, kind in _DEVICES)
        wanted = self.wanted
        member = Member(
            self._first,
            wanted,
            wanted + BLOCK,
            0 if kind in NO_DATA else number(size),
            0,
            kind,
            prefix + text(name) if self._long_name is None else self._long_name,
            (text(link) if link[0] else b"") if self._long_link is None else self._long_link,
            mode,
            uid,
            gid,
            uname,
            gname,
            nanoseconds(mtime),
            major,
            minor,
        )
        self._long_name = self._long_link = None
        local = self._local
        if local:
            self._local = {}
            pax.apply(member, local)
        member.size = _plausible(member.stored_size)
        if kind == OLD_REGULAR and member.name.endswith(b"/"):
            member.type = DIRECTORY
        if kind == GNU_SPARSE:
            member.size = _plausible(number(block[_SPARSE_SIZE]))
            return self._with_map(member, sparse.OldMap(block))
        if local:
            if local.get(b"GNU.sparse.major") == b"1":
                member.size = _plausible(pax.decimal(local.get(b"GNU.sparse.realsize", b"")))
                return self._with_map(member, sparse.LeadingMap())
            if pax.SPARSE_MAP in local:
                self._mapped_sparse(member, local)
        self._first = self.wanted = member.data_offset + padded(member.stored_size)
        return member

    def _map_block(self, member: Member, parts: _Map, block: bytes) -> Member | None:
        """Take the next block of a member's map; answers the member if that was the last."""
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
        member.sparse = sparse.checked(parts.numbers, member.size, member.stored_size)
        self._first = self.wanted = member.data_offset + padded(member.stored_size)
        return member

    def _mapped_sparse(self, member: Member, records: pax.Records) -> None:
        numbers = [pax.decimal(value) for value in records[pax.SPARSE_MAP].split(b",") if value]
        size = records.get(b"GNU.sparse.size", records.get(b"GNU.sparse.realsize", b""))
        member.size = _plausible(pax.decimal(size))
        member.sparse = sparse.checked(numbers, member.size, member.stored_size)


def _plausible(size: int) -> int:
    if not 0 <= size <= _MAX_SIZE:
        raise ValueError(f"a size of {size} bytes")
    return size


@lru_cache(1024)
def _common(
    ownership: bytes, newer: bytes, is_device: bool
) -> tuple[int, int, int, bytes, bytes, int, int, bytes]:
    """What headers of one folder mostly have in common: mode, owner, their names, device, and prefix with its slash."""
    mode, uid, gid = map(number, _OWNERSHIP.unpack(ownership))
    magic, uname, gname, major, minor, prefix = _NEWER.unpack(newer)
    if magic[:5] != b"ustar":
        uname = gname = b""
    prefix = text(prefix) + b"/" if magic == _USTAR and prefix[0] else b""
    device = (number(major), number(minor)) if is_device else (0, 0)
    return (
        mode & 0o7777,
        possible_owner(uid),
        possible_owner(gid),
        text(uname),
        text(gname),
        *device,
        prefix,
    )


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
