"""What `imgfs locate` is asked, from its options, most of which are written as those of find(1).

Tried by the tests of `imgfs locate`.
"""

import grp
import pwd
import re
import stat
import time
from collections.abc import Callable
from typing import TypeVar

import click

from imgfs.cli.moments import parse_moment
from imgfs.locate.pattern import Pattern, parse_pattern
from imgfs.locate.place import CAPABLE, Kind
from imgfs.locate.search import Query, Range

T = TypeVar("T")
KindTest = Callable[[Kind], bool]

_TYPES = {
    "f": stat.S_IFREG,
    "d": stat.S_IFDIR,
    "l": stat.S_IFLNK,
    "p": stat.S_IFIFO,
    "c": stat.S_IFCHR,
    "b": stat.S_IFBLK,
}
_BITS = {
    "u": {"r": 0o400, "w": 0o200, "x": 0o100, "s": 0o4000},
    "g": {"r": 0o40, "w": 0o20, "x": 0o10, "s": 0o2000},
    "o": {"r": 0o4, "w": 0o2, "x": 0o1, "t": 0o1000},
}
_UNITS = {"c": 1, "w": 2, "b": 512, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_DAY_NS = 86_400 * 10**9
_MOST = 1 << 63


def taken(parse: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """A callback of an option, whose value is what `parse` makes of it; that raises ValueError."""

    def take(context: click.Context, parameter: click.Parameter, value: str | None) -> T | None:
        try:
            return None if value is None else parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return take


def parse_perm(text: str) -> KindTest:
    """`MODE`, `-MODE` or `/MODE` as of find(1), in octal digits or symbolic."""
    test = text[:1] if text[:1] in ("-", "/") else ""
    wanted = _mode(text.removeprefix(test))
    if wanted is None:
        raise ValueError(f"{text!r} is no mode such as 4755, -4000, /6000 or /u+s,g+s")
    if test == "-":
        return lambda kind: kind.mode & wanted == wanted
    if test == "/":
        return lambda kind: not wanted or kind.mode & wanted != 0
    return lambda kind: stat.S_IMODE(kind.mode) == wanted


def _mode(text: str) -> int | None:
    """A mode in octal digits, or as symbols change one without permissions; None if it is neither."""
    if re.fullmatch(r"[0-7]{1,4}", text):
        return int(text, 8)
    mode = 0
    for clause in text.split(","):
        match = re.fullmatch(r"([ugoa]+)([-+=])([rwxst]*)", clause)
        if match is None:
            return None
        of = [bits for who, bits in _BITS.items() if who in match[1] or "a" in match[1]]
        given = sum(bits[permission] for bits in of for permission in {*match[3]} & bits.keys())
        if match[2] == "=":
            mode &= ~sum(sum(bits.values()) for bits in of)
        mode = mode & ~given if match[2] == "-" else mode | given
    return mode


def parse_type(text: str) -> KindTest:
    """Letters of types as of find(1), with commas between them."""
    try:
        wanted = {_TYPES[letter] for letter in text.split(",")}
    except KeyError:
        raise ValueError(f"{text!r}: types are {', '.join(_TYPES)}") from None
    return lambda kind: stat.S_IFMT(kind.mode) in wanted


def parse_user(text: str) -> KindTest:
    """A user by number, or by the name that this machine has."""
    try:
        wanted = int(text) if text.isdecimal() else pwd.getpwnam(text).pw_uid
    except KeyError:
        raise ValueError(f"{text!r} is no user of this machine; give the number") from None
    return lambda kind: kind.uid == wanted


def parse_group(text: str) -> KindTest:
    """A group by number, or by the name that this machine has."""
    try:
        wanted = int(text) if text.isdecimal() else grp.getgrnam(text).gr_gid
    except KeyError:
        raise ValueError(f"{text!r} is no group of this machine; give the number") from None
    return lambda kind: kind.gid == wanted


def parse_size_range(text: str) -> Range:
    """`[+-]N[cwbkMG]` as of find(1): sizes are rounded up to the unit, which is 512 bytes if none is given."""
    match = re.fullmatch(r"([-+]?)(\d{1,18})([cwbkMG]?)", text)
    if match is None:
        raise ValueError(f"{text!r} is not a size such as +10M, -4k or 100c")
    unit, number = _UNITS[match[3] or "b"], int(match[2])
    if match[1] == "+":
        return number * unit + 1, _MOST
    return (0 if match[1] == "-" else (number - 1) * unit + 1), (number - (match[1] == "-")) * unit


def parse_days(text: str) -> Range:
    """`[+-]N` as of -mtime of find(1): days ago, without their fraction; as a range of times in nanoseconds."""
    match = re.fullmatch(r"([-+]?)(\d{1,9})", text)
    if match is None:
        raise ValueError(f"{text!r} is not a number of days such as 7, -1 or +30")
    now, days = time.time_ns(), int(match[2])
    if match[1] == "+":
        return -_MOST, now - (days + 1) * _DAY_NS
    if match[1] == "-":
        return now - days * _DAY_NS + 1, _MOST
    return now - (days + 1) * _DAY_NS + 1, now - days * _DAY_NS


def parse_newer(text: str) -> Range:
    """What is later than a time, which `parse_moment` reads, as a range of times in nanoseconds."""
    moment = parse_moment(text)
    seconds = int(moment.replace(microsecond=0).timestamp())
    return seconds * 10**9 + moment.microsecond * 1000 + 1, _MOST


def parse_sha256(text: str) -> bytes:
    """A sha256 digest, with `sha256:` before it or without, as sha256sum(1) prints it."""
    match = re.fullmatch(r"(?:sha256:)?([0-9a-fA-F]{64})", text)
    if match is None:
        raise ValueError(f"{text!r} is not 64 hexadecimal digits, as sha256sum prints them")
    return bytes.fromhex(match[1])


def query_of(
    pattern: str | None,
    *,
    basename: bool,
    ignore_case: bool,
    regex: bool,
    kinds: list[KindTest | None],
    capability: bool,
    size: Range | None,
    times: list[Range | None],
    digest: bytes | None,
) -> Query:
    """What is asked. Raises click.UsageError if that is nothing, or no pattern."""
    tests = [test for test in kinds if test is not None]
    if capability:
        tests.append(lambda kind: bool(kind.flags & CAPABLE))
    ranges = [given for given in times if given is not None]
    if pattern is None and not tests and size is None and not ranges and digest is None:
        raise click.UsageError("Missing argument 'PATTERN', or an option that says what to look for.")
    try:
        parsed: Pattern | None = None
        if pattern is not None:
            parsed = parse_pattern(pattern, basename=basename, ignore_case=ignore_case, regex=regex)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return Query(
        parsed,
        (lambda kind: all(test(kind) for test in tests)) if tests else None,
        size,
        (max(low for low, _ in ranges), min(high for _, high in ranges)) if ranges else None,
        digest,
    )
