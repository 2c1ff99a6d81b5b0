"""Headers as Go's archive/tar writes them, which engines write layers with, byte for byte.

Source: Go, src/archive/tar/writer.go and common.go: ustar where everything fits, else preceded by a pax header. What
engines put into them: moby, pkg/archive; containerd, pkg/archive; containers/storage, pkg/archive. Tried by the tests
of `rebuilt_layer`.
"""

import posixpath
from collections.abc import Mapping
from typing import NamedTuple

from imgfs.tar.fields import padded
from imgfs.tar.member import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    DIRECTORY,
    FIFO,
    REGULAR,
    SYMLINK,
    Member,
)
from imgfs.tar.pax import format_records, xattr_records

_NAME, _PREFIX, _SHORT, _LONG = 100, 155, 8**7, 8**11
_BLOCK = 512
_MODE, _UID, _GID, _SIZE, _MTIME, _CHECKSUM, _TYPE, _LINK = 100, 108, 116, 124, 136, 148, 156, 157
_MAGIC, _UNAME, _GNAME, _DEVICES, _PREFIX_AT = 257, 265, 297, 329, 345
_TYPE_BITS = {
    REGULAR: 0o100000,
    DIRECTORY: 0o040000,
    SYMLINK: 0o120000,
    FIFO: 0o010000,
    CHARACTER_DEVICE: 0o020000,
    BLOCK_DEVICE: 0o060000,
}
_USERS = """
0 root, 1 daemon, 2 bin, 3 sys, 4 sync, 5 games, 6 man, 7 lp, 8 mail, 9 news, 10 uucp, 13 proxy,
33 www-data, 34 backup, 38 list, 39 irc, 42 _apt, 65534 nobody
"""
_GROUPS = """
0 root, 1 daemon, 2 bin, 3 sys, 4 adm, 5 tty, 6 disk, 7 lp, 8 mail, 9 news, 10 uucp, 12 man, 13 proxy,
15 kmem, 20 dialout, 21 fax, 22 voice, 24 cdrom, 25 floppy, 26 tape, 27 sudo, 29 audio, 30 dip,
33 www-data, 34 backup, 37 operator, 38 list, 39 irc, 40 src, 42 shadow, 43 utmp, 44 video, 45 sasl,
46 plugdev, 50 staff, 60 games, 100 users, 65534 nogroup
"""


class Writer(NamedTuple):
    """What programs that use archive/tar do differently: whether modes have the file's type, and names of owners."""

    name: str
    has_type_bits: bool
    users: Mapping[int, bytes]
    groups: Mapping[int, bytes]


def _names(text: str) -> dict[int, bytes]:
    pairs = (item.split() for item in text.split(","))
    return {int(number): name.encode() for number, name in pairs}


WRITERS = (
    Writer("BuildKit", has_type_bits=False, users={}, groups={}),
    Writer("buildah", has_type_bits=True, users={}, groups={}),
    Writer("Docker", has_type_bits=True, users=_names(_USERS), groups=_names(_GROUPS)),
)
"""BuildKit, containerd and newer versions of buildah and Podman; older ones; and the builder of Docker before BuildKit,
on Debian or Ubuntu, with the names that each such machine has (package base-passwd).

Tried on an image of Debian in twelve steps: of the layers without whiteouts, nine of nine of BuildKit (Docker 26.1)
were equal, nine of nine of buildah 1.39, and five of nine of Docker 20.10, whose others have names of their machine.
"""


def go_header(member: Member, file_type: bytes, writer: Writer) -> bytes:
    """All headers of a member. `file_type` is that of the file where the member is a hard link to it.

    A time has whole seconds, as engines cut off the rest.
    """
    name, link = member.name, member.linkname
    records: dict[bytes, bytes] = {}
    split = _split(name)
    if split is None:
        records[b"path"] = name
    if len(link) > _NAME or not link.isascii():
        records[b"linkpath"] = link
    for keyword, number, limit in (
        (b"uid", member.uid, _SHORT),
        (b"gid", member.gid, _SHORT),
        (b"size", member.size, _LONG),
    ):
        if number >= limit:
            records[keyword] = b"%d" % number
    records |= xattr_records(member.xattrs or {})
    prefix, short = split if split is not None and not records else (b"", _ascii(name)[:_NAME])
    mode = member.mode | (_TYPE_BITS[file_type] if writer.has_type_bits else 0)
    block = _block(short, member.type, member.size, mode)
    _number(block, _UID, member.uid, _SHORT)
    _number(block, _GID, member.gid, _SHORT)
    block[_MTIME : _MTIME + 11] = b"%011o" % (member.mtime_ns // 1_000_000_000)
    _text(block, _LINK, _ascii(link)[:_NAME])
    _text(block, _UNAME, writer.users.get(member.uid, b""))
    _text(block, _GNAME, writer.groups.get(member.gid, b""))
    block[_DEVICES : _DEVICES + 15] = b"%07o\0%07o" % (member.devmajor, member.devminor)
    _text(block, _PREFIX_AT, prefix)
    own = _summed(block)
    if not records:
        return own
    text = format_records({keyword: records[keyword] for keyword in sorted(records)})
    folder, _, last = name.rpartition(b"/")
    extended = _ascii(posixpath.normpath(posixpath.join(folder, b"PaxHeaders.0", last)))[:_NAME]
    head = _block(extended.rstrip(b"/"), b"x", len(text), 0)
    return _summed(head) + text.ljust(padded(len(text)), b"\0") + own


def _block(name: bytes, kind: bytes, size: int, mode: int) -> bytearray:
    block = bytearray(_BLOCK)
    _text(block, 0, name)
    block[_MODE : _MODE + 7] = b"%07o" % mode
    block[_UID : _UID + 7] = block[_GID : _GID + 7] = b"0000000"
    _number(block, _SIZE, size, _LONG)
    block[_MTIME : _MTIME + 11] = b"%011o" % 0
    block[_TYPE : _TYPE + 1] = kind
    block[_MAGIC : _MAGIC + 8] = b"ustar\x0000"
    return block


def _summed(block: bytearray) -> bytes:
    block[_CHECKSUM : _CHECKSUM + 8] = b" " * 8
    block[_CHECKSUM : _CHECKSUM + 8] = b"%06o\0 " % sum(block)
    return bytes(block)


def _text(block: bytearray, place: int, text: bytes) -> None:
    block[place : place + len(text)] = text


def _number(block: bytearray, place: int, number: int, limit: int) -> None:
    width = 7 if limit == _SHORT else 11
    block[place : place + width] = b"%0*o" % (width, number if number < limit else 0)


def _ascii(text: bytes) -> bytes:
    return bytes(byte for byte in text if byte < 0x80)


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """A name as prefix and rest as they fit into one header; None if they do not (`splitUSTARPath`)."""
    if not name.isascii():
        return None
    if len(name) <= _NAME:
        return b"", name
    length = len(name)
    if length > _PREFIX + 1:
        length = _PREFIX + 1
    elif name.endswith(b"/"):
        length -= 1
    slash = name[:length].rfind(b"/")
    rest = name[slash + 1 :]
    return (name[:slash], rest) if slash > 0 and 0 < len(rest) <= _NAME and slash <= _PREFIX else None
