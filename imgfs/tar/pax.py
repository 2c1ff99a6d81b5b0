"""Extended headers: pax records, and how they change a member.

Format: POSIX.1-2001 pax interchange format, "pax Extended Header"; star's SCHILY.xattr, GNU tar's GNU.sparse
keywords. What Go's archive/tar rejects is rejected, as no engine unpacks it. Errors are ValueError.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from imgfs.errors import quoted
from imgfs.tar.fields import decimal
from imgfs.tar.member import NO_DATA, Member
from imgfs.tar.xattrs import possible

Records = Mapping[bytes, bytes]

_SCHILY = b"SCHILY.xattr."
_SPARSE_OFFSET, _SPARSE_LENGTH, _SPARSE_MAP = b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"GNU.sparse.map"
_TEXTS = frozenset((b"path", b"linkpath", b"uname", b"gname"))
_SHORT = 32  # bytes of an extended header with a single record
_begin_record = re.compile(rb"\+?0*([0-9]{1,19}) ([^=]+)=").match  # length of the whole record, keyword


def parse_records(payload: bytes) -> Records:
    """The records of an extended header, later ones of the same keyword winning; not to be changed.

    The pairs of GNU tar's sparse format 0.0, which repeats keywords, are gathered as the map of format 0.1.
    """
    # a time alone, which files of one package often share
    return _remembered(payload) if len(payload) <= _SHORT else _parsed(payload)


def _parsed(payload: bytes) -> Records:
    records: dict[bytes, bytes] = {}
    pairs: list[bytes] = []
    has_nul = b"\0" in payload
    size = len(payload)
    position = 0
    while position < size:
        begun = _begin_record(payload, position)
        if begun is None:
            raise ValueError("a pax record without its length or keyword")
        length, keyword = begun.groups()
        start, end = begun.end(), position + int(length)
        if not start < end <= size or payload[end - 1] != 0x0A:
            raise ValueError("a pax record with a wrong length")
        value = payload[start : end - 1]
        if has_nul and b"\0" in (value if keyword in _TEXTS else keyword):
            raise ValueError(f"a pax record {quoted(keyword[:32])} with a NUL")
        if keyword in (_SPARSE_OFFSET, _SPARSE_LENGTH):
            if (keyword == _SPARSE_LENGTH) != len(pairs) % 2 or b"," in value:
                raise ValueError("pax records of a sparse map out of order")
            pairs.append(value)
        else:
            records[keyword] = value
        position = end
    if pairs:
        records[_SPARSE_MAP] = b",".join(pairs)
    return records


_remembered = lru_cache(1024)(_parsed)


def parse_time(value: bytes) -> int:
    """A record's time, seconds with an optional fraction, in nanoseconds. Digits beyond those are dropped."""
    seconds, _, fraction = value.partition(b".")
    if len(seconds) == 10 and seconds.isdigit() and fraction.isdigit():  # the usual form
        return int(seconds + fraction[:9].ljust(9, b"0"))
    if fraction and not fraction.isdigit():
        raise ValueError(f"{quoted(value[:32])} is not a time")
    below = int(fraction[:9].ljust(9, b"0")) if fraction else 0
    whole = decimal(seconds) * 1_000_000_000
    return whole - below if seconds.startswith(b"-") else whole + below


def apply(member: Member, records: Records) -> None:
    """Set the fields of `member` that records override; an empty value overrides nothing."""
    attributes: dict[bytes, bytes] = {}
    for keyword, value in records.items():
        known = _FIELDS.get(keyword)
        if known is None:
            if keyword.startswith(_SCHILY):
                attributes[keyword[len(_SCHILY) :]] = value
        elif value:
            field, convert = known
            converted = convert(value)
            if field is not None and (field != "stored_size" or member.type not in NO_DATA):
                setattr(member, field, converted)
    if attributes:
        member.xattrs = possible(attributes, member.type) or None
        member.is_adjusted |= member.xattrs != attributes


def format_records(records: Mapping[bytes, bytes]) -> bytes:
    """Records as an extended header holds them. A keyword has no `=`."""
    return b"".join(_record(keyword + b"=" + value) for keyword, value in records.items())


def _record(text: bytes) -> bytes:
    length = len(text) + 3  # a blank, a newline and one digit at least
    while len(b"%d %s\n" % (length, text)) != length:
        length = len(b"%d %s\n" % (length, text))
    return b"%d %s\n" % (length, text)


def xattr_records(xattrs: Mapping[bytes, bytes]) -> Records:
    """Extended attributes as records."""
    return {_SCHILY + name: value for name, value in xattrs.items()}


_FIELDS: Mapping[bytes, tuple[str | None, Callable[[bytes], object]]] = {
    b"path": ("name", bytes),
    b"linkpath": ("linkname", bytes),
    b"size": ("stored_size", decimal),
    b"uid": ("uid", decimal),
    b"gid": ("gid", decimal),
    b"uname": ("uname", bytes),
    b"gname": ("gname", bytes),
    b"mtime": ("mtime_ns", parse_time),
    b"atime": (None, parse_time),  # not used, but rejected if it is not a time
    b"ctime": (None, parse_time),
}
