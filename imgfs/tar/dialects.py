"""The fields of a header block in each dialect of tar: V7, ustar, star, GNU tar.

Formats: POSIX.1-1988 ustar; star(5); GNU tar manual, "Basic Tar Format". The dialect is recognised by the magic, and by
whether a prefix follows the device numbers, as in Go's archive/tar. Errors are ValueError.
"""

import struct
from functools import lru_cache
from typing import NamedTuple

from imgfs.tar.fields import number, text

HEADER = struct.Struct("100s24s12s12s8sc100s255s")
"""Name, ownership, size, mtime, checksum, type, link name, and what only newer dialects have."""

_OWNERSHIP = struct.Struct("8s8s8s")  # mode, uid, gid
# magic, version, uname, gname, major, minor, prefix, the rest
_NEWER = struct.Struct("6s2s32s32s8s8s155s12s")
_STAR = struct.Struct("131s12s12s12x")  # in place of prefix and the rest: a shorter prefix, atime, ctime
_GNU_TIMES = struct.Struct("12s12s131x")  # in place of the prefix
_USTAR, _GNU, _GNU_VERSION, _STAR_TRAILER = b"ustar\0", b"ustar ", b" \0", b"tar\0"
_SPARSE_SIZE = slice(483, 495)  # the length of a file in GNU tar's old sparse format
_MAGIC = slice(257, 265)


class Common(NamedTuple):
    """The fields that the headers of one directory mostly have in common; a `prefix` ends in a slash.

    `is_plain` is whether all tar tools read such a header alike. They do not read a prefix in GNU tar's dialect alike,
    nor times in its place, and some reject V7 headers.
    """

    mode: int
    uid: int
    gid: int
    uname: bytes = b""
    gname: bytes = b""
    major: int = 0
    minor: int = 0
    prefix: bytes = b""
    is_plain: bool = False


@lru_cache(1024)
def common(ownership: bytes, newer: bytes) -> Common:
    """Parse the second and the last field of HEADER."""
    mode, uid, gid = map(number, _OWNERSHIP.unpack(ownership))
    mode &= 0o7777
    magic, version, uname, gname, major, minor, prefix, rest = _NEWER.unpack(newer)
    is_plain = magic == _USTAR
    if is_plain and rest.endswith(_STAR_TRAILER):
        is_plain = False
        prefix, *times = _STAR.unpack(prefix + rest)
        for time in times:
            number(time)
    elif magic == _GNU and version == _GNU_VERSION:
        is_plain = not prefix[0]
        prefix = _gnu_prefix(prefix)
    elif magic != _USTAR:
        return Common(mode, uid, gid)
    prefix = text(prefix)
    return Common(
        mode,
        uid,
        gid,
        text(uname),
        text(gname),
        number(major),
        number(minor),
        prefix + b"/" if prefix else b"",
        is_plain,
    )


def _gnu_prefix(field: bytes) -> bytes:
    """GNU tar has times where ustar has a prefix, but programs built with Go before 1.8 wrote a prefix there."""
    try:
        for time in _GNU_TIMES.unpack(field):
            if time[0]:
                number(time)
    except ValueError:
        return field if text(field).isascii() else b""
    return b""


def old_sparse_size(block: bytes) -> int:
    """The length of the file of a member of type S, which only GNU tar's dialect has."""
    if block[_MAGIC] != _GNU + _GNU_VERSION:
        raise ValueError("a sparse file in a dialect that has none")
    return number(block[_SPARSE_SIZE])
