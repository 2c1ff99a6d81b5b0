"""Extended headers: pax records, and what they say of a member.

Format: POSIX.1-2001 pax interchange format, "pax Extended Header"; star's SCHILY.xattr, libarchive's
LIBARCHIVE.xattr, GNU tar's GNU.sparse keywords. Errors are ValueError.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

from imgfs.tar.fields import possible_owner, possible_time
from imgfs.tar.member import NO_DATA, Member

Records = Mapping[bytes, bytes]

_SCHILY, _LIBARCHIVE = b"SCHILY.xattr.", b"LIBARCHIVE.xattr."
_SPARSE_OFFSET, _SPARSE_LENGTH = b"GNU.sparse.offset", b"GNU.sparse.numbytes"
SPARSE_MAP = b"GNU.sparse.map"
_XATTRS = (_SCHILY, _LIBARCHIVE)
_SHORT = 32  # bytes of an extended header that says one thing
_begin_record = re.compile(rb"([0-9]{1,19}) ([^=]*)=").match  # length of the whole record, keyword


def parse_records(payload: bytes) -> Records:
    """The records of an extended header, later ones of the same keyword winning; not to be changed.

    The pairs of GNU tar's sparse format 0.0, which repeats keywords, are gathered as a SPARSE_MAP.
    """
    # a time alone, which files of one package often share
    return _remembered(payload) if len(payload) <= _SHORT else _parsed(payload)


def _parsed(payload: bytes) -> Records:
    records: dict[bytes, bytes] = {}
    pairs: list[bytes] | None = [] if _SPARSE_LENGTH in payload else None
    size = len(payload)
    position = 0
    while position < size and payload[position]:
        begun = _begin_record(payload, position)
        if begun is None:
            raise ValueError("a pax record without its length or keyword")
        length, keyword = begun.groups()
        start, end = begun.end(), position + int(length)
        if not start < end <= size or payload[end - 1] != 0x0A:
            raise ValueError("a pax record with a wrong length")
        value = records[keyword] = payload[start : end - 1]
        if pairs is not None and keyword in (_SPARSE_OFFSET, _SPARSE_LENGTH):
            pairs.append(value)
        position = end
    if pairs:
        records[SPARSE_MAP] = b",".join(pairs)
    return records


_remembered = lru_cache(1024)(_parsed)


def decimal(value: bytes) -> int:
    """A record's number; a minus sign is allowed, a fraction is not."""
    if not value.removeprefix(b"-").isdigit() or len(value) > 20:
        raise ValueError(f"{value[:32]!r} is not a number")
    return int(value)


def owner(value: bytes) -> int:
    """A record's number of a user or group, as `possible_owner` has it."""
    return possible_owner(decimal(value))


def nanoseconds(value: bytes) -> int:
    """A record's time, seconds with an optional fraction, in nanoseconds, as `possible_time` has it.

    Digits beyond nanoseconds are dropped.
    """
    seconds, _, fraction = value.partition(b".")
    if len(seconds) == 10 and seconds.isdigit() and seconds < b"9" and fraction.isdigit():  # the usual form
        return int(seconds + fraction[:9].ljust(9, b"0"))
    if fraction and not fraction.isdigit():
        raise ValueError(f"{value[:32]!r} is not a time")
    below = int(fraction[:9].ljust(9, b"0")) if fraction else 0
    whole = decimal(seconds or b"0") * 1_000_000_000
    return possible_time(whole - below if seconds.startswith(b"-") else whole + below)


def apply(member: Member, records: Records) -> None:
    """Let what records say go before what the header of `member` says; an empty value says nothing."""
    has_xattrs = False
    for keyword, value in records.items():
        known = _FIELDS.get(keyword)
        if known is None:
            has_xattrs |= keyword.startswith(_XATTRS)
        elif value:
            field, convert = known
            if field != "stored_size" or member.type not in NO_DATA:
                setattr(member, field, convert(value))
    if sparse_name := records.get(b"GNU.sparse.name"):
        member.name = sparse_name
    if has_xattrs:
        member.xattrs = xattrs(records)


def xattrs(records: Records) -> dict[bytes, bytes] | None:
    """Extended attributes by name; None if there are none. star's form wins over libarchive's."""
    found: dict[bytes, bytes] = {}
    for keyword, value in records.items():
        if keyword.startswith(_SCHILY):
            found[keyword[len(_SCHILY) :]] = value
        elif keyword.startswith(_LIBARCHIVE):
            try:
                name = unquote_to_bytes(keyword[len(_LIBARCHIVE) :])
                found.setdefault(name, base64.b64decode(value + b"=" * (-len(value) % 4), validate=True))
            except binascii.Error as error:
                raise ValueError(f"an extended attribute that is not base64: {error}") from None
    return found or None


def xattr_records(xattrs: Mapping[bytes, bytes]) -> dict[str, str]:
    """Extended attributes as the records of one of `tarfile`'s members, its text being UTF-8 with surrogate escapes.

    They are in star's form, which all tools read, but in libarchive's where a keyword cannot be the name as it is.
    """
    records = {}
    for name, value in xattrs.items():
        if b"=" in name or name.decode("utf-8", "replace").encode() != name:
            records[_LIBARCHIVE.decode() + quote_from_bytes(name)] = base64.b64encode(value).decode()
        else:
            records[(_SCHILY + name).decode()] = value.decode("utf-8", "surrogateescape")
    return records


_FIELDS: Mapping[bytes, tuple[str, Callable[[bytes], object]]] = {
    b"path": ("name", bytes),
    b"linkpath": ("linkname", bytes),
    b"size": ("stored_size", decimal),
    b"uid": ("uid", owner),
    b"gid": ("gid", owner),
    b"uname": ("uname", bytes),
    b"gname": ("gname", bytes),
    b"mtime": ("mtime_ns", nanoseconds),
}
