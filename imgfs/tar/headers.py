"""Writing headers: ustar's, preceded by a pax header with the values that do not fit.

Format: POSIX.1-2001 pax interchange format; extended attributes as in star's SCHILY.xattr.
"""

import struct
from collections.abc import Mapping

from imgfs.tar.fields import padded
from imgfs.tar.member import DIRECTORY
from imgfs.tar.pax import format_records, xattr_records

# name, mode, uid, gid, size, mtime, checksum, typeflag, linkname, magic, version, uname, gname, major, minor
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32x32x8s8s167x")
_CHECKSUM = slice(148, 156)
_SHORT, _LONG = 8**7, 8**11  # the smallest numbers that do not fit a field
_MAX_NAME = 100


def header_block(
    name: bytes,
    kind: bytes,
    size: int = 0,
    mode: int = 0o644,
    owner: tuple[int, int] = (0, 0),
    mtime: int = 0,
    linkname: bytes = b"",
    device: tuple[int, int] = (0, 0),
) -> bytes:
    """One header. Every value must fit its field; `mtime` is in seconds."""
    short = [b"%07o" % number for number in (mode, *owner)]
    long = [b"%011o" % number for number in (size, mtime)]
    devices = [b"%07o" % number for number in device]
    block = _HEADER.pack(name, *short, *long, b" " * 8, kind, linkname, b"ustar", b"00", *devices)
    return block[: _CHECKSUM.start] + b"%06o\0 " % sum(block) + block[_CHECKSUM.stop :]


def member_header(
    name: bytes,
    kind: bytes,
    size: int,
    mode: int,
    owner: tuple[int, int],
    mtime_ns: int,
    linkname: bytes = b"",
    device: tuple[int, int] = (0, 0),
    xattrs: Mapping[bytes, bytes] = {},
) -> bytes:
    """All headers of a member, a multiple of the block size. `mtime_ns` is not negative."""
    if kind == DIRECTORY:
        name += b"/"
    seconds, fraction = divmod(mtime_ns, 1_000_000_000)
    records: dict[bytes, bytes] = {}
    if len(name) > _MAX_NAME or not name.isascii():
        records[b"path"] = name
    if len(linkname) > _MAX_NAME or not linkname.isascii():
        records[b"linkpath"] = linkname
    for keyword, number, limit in (
        (b"uid", owner[0], _SHORT),
        (b"gid", owner[1], _SHORT),
        (b"size", size, _LONG),
    ):
        if number >= limit:
            records[keyword] = b"%d" % number
    if fraction:
        records[b"mtime"] = b"%d.%09d" % (seconds, fraction)
    records |= xattr_records(xattrs)
    own = header_block(
        name[:_MAX_NAME],
        kind,
        size if size < _LONG else 0,
        mode,
        (owner[0] if owner[0] < _SHORT else 0, owner[1] if owner[1] < _SHORT else 0),
        seconds,
        linkname[:_MAX_NAME],
        device,
    )
    if not records:
        return own
    text = format_records(records)
    return header_block(b"././@PaxHeader", b"x", len(text)) + text.ljust(padded(len(text)), b"\0") + own
