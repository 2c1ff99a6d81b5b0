"""Extended headers: pax records, and what they say of a member.

Format: POSIX.1-2001 pax interchange format, "pax Extended Header"; star's SCHILY.xattr, libarchive's
LIBARCHIVE.xattr, GNU tar's GNU.sparse keywords. Errors are ValueError.
"""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

Records = dict[bytes, bytes]

_SCHILY, _LIBARCHIVE = b"SCHILY.xattr.", b"LIBARCHIVE.xattr."
_SPARSE_OFFSET, _SPARSE_LENGTH = b"GNU.sparse.offset", b"GNU.sparse.numbytes"
SPARSE_MAP = b"GNU.sparse.map"
_KEYWORDS = frozenset((b"path", b"linkpath", b"size", b"uid", b"gid", b"uname", b"gname", b"mtime"))
_XATTRS = (_SCHILY, _LIBARCHIVE)


def parse_records(payload: bytes) -> Records:
    """The records of an extended header, later ones of the same keyword winning.

    The pairs of GNU tar's sparse format 0.0, which repeats keywords, are gathered as a SPARSE_MAP.
    """
    records: Records = {}
    pairs: list[bytes] = []
    position = 0
    while position < len(payload) and payload[position]:
        blank = payload.find(b" ", position, position + 20)
        if blank < 0 or not payload[position:blank].isdigit():
            raise ValueError("a pax record without its length")
        end = position + int(payload[position:blank])
        equals = payload.find(b"=", blank, end)
        if not blank < equals < end <= len(payload) or payload[end - 1] != 0x0A:
            raise ValueError("a pax record with a wrong length")
        keyword, value = payload[blank + 1 : equals], payload[equals + 1 : end - 1]
        if keyword in (_SPARSE_OFFSET, _SPARSE_LENGTH):
            pairs.append(value)
        records[keyword] = value
        position = end
    if pairs:
        records[SPARSE_MAP] = b",".join(pairs)
    return records


def of_members(records: Records) -> Records:
    """Those of some records that say something of members; a comment does not."""
    return {key: value for key, value in records.items() if key in _KEYWORDS or key.startswith(_XATTRS)}


def decimal(value: bytes) -> int:
    """A record's number; a minus sign is allowed, a fraction is not."""
    if not value.removeprefix(b"-").isdigit() or len(value) > 20:
        raise ValueError(f"{value[:32]!r} is not a number")
    return int(value)


def nanoseconds(value: bytes) -> int:
    """A record's time, seconds with an optional fraction, in nanoseconds; digits beyond those are dropped."""
    seconds, _, fraction = value.partition(b".")
    if fraction and not fraction.isdigit():
        raise ValueError(f"{value[:32]!r} is not a time")
    below = int(fraction[:9].ljust(9, b"0")) if fraction else 0
    whole = decimal(seconds or b"0") * 1_000_000_000
    return whole - below if seconds.startswith(b"-") else whole + below


def xattrs(records: Mapping[bytes, bytes]) -> dict[bytes, bytes] | None:
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
