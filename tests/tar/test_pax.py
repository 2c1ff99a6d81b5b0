"""Records of extended headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfs.tar import Member, pax
from tests.tar.archives import BLOCK, record

KEYWORD = st.binary(min_size=1, max_size=30).filter(
    lambda key: b"=" not in key and b"\0" not in key and not key.startswith(b"GNU.sparse")
)


@given(st.dictionaries(KEYWORD, st.binary(max_size=2000), max_size=8))
def test_records_hold_any_bytes(records: dict[bytes, bytes]) -> None:
    payload = b"".join(record(key, value) for key, value in records.items())
    assert pax.parse_records(payload) == records
    assert pax.parse_records(pax.format_records(records)) == records


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_a_value_error(noise: bytes) -> None:
    try:
        pax.parse_records(record(b"path", b"name") + noise)
    except ValueError as error:
        assert "pax record" in str(error)


def test_the_last_of_a_keyword_wins() -> None:
    assert pax.parse_records(record(b"a", b"1") + record(b"a", b"2")) == {b"a": b"2"}


def test_pairs_of_sparse_format_0_0_become_a_map() -> None:
    pairs = [(b"offset", b"0"), (b"numbytes", b"5"), (b"offset", b"9"), (b"numbytes", b"1")]
    payload = b"".join(record(b"GNU.sparse." + key, value) for key, value in pairs)
    assert pax.parse_records(payload) == {b"GNU.sparse.map": b"0,5,9,1"}


@pytest.mark.parametrize(
    "payload",
    [
        record(b"path", b"a\0b"),
        record(b"linkpath", b"\0"),
        record(b"uname", b"a\0"),
        record(b"gname", b"\0a"),
        record(b"SCHILY.xattr.user.a\0b", b"value"),
        record(b"", b"value"),
        record(b"GNU.sparse.numbytes", b"5"),
        record(b"GNU.sparse.offset", b"5") * 2,
        record(b"GNU.sparse.offset", b"5,6"),
        record(b"a", b"b") + b"\0",
        b"-7 a=bc\n",
        b"99999999999999999999999 a=b\n",
    ],
)
def test_what_no_engine_takes_is_a_value_error(payload: bytes) -> None:
    with pytest.raises(ValueError, match="pax record"):
        pax.parse_records(payload)


def test_values_may_have_nuls_and_lengths_signs_and_zeros() -> None:
    payload = record(b"SCHILY.xattr.user.a", b"\0") + b"+0011 a=bc\n"
    assert pax.parse_records(payload) == {b"SCHILY.xattr.user.a": b"\0", b"a": b"bc"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"5", 5_000_000_000),
        (b"5.", 5_000_000_000),
        (b"5.1", 5_100_000_000),
        (b"5.1234567891", 5_123_456_789),
        (b"-5.25", -5_250_000_000),
        (b"-0.5", -500_000_000),
        (b"+5.5", 5_500_000_000),
        (b"0" * 30 + b"5", 5_000_000_000),
        (b"9999999999.5", 9_999_999_999_500_000_000),
    ],
)
def test_times_have_nanoseconds(value: bytes, expected: int) -> None:
    assert pax.parse_time(value) == expected


@pytest.mark.parametrize("value", [b"x", b"1.x", b"--1", b"1e5", b"9" * 30, b"1.-5", b"\xd9\xa3", b".5", b""])
def test_what_is_no_time_is_a_value_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a"):
        pax.parse_time(value)


def member(kind: bytes = b"0") -> Member:
    return Member(0, 0, BLOCK, 0, 0, kind, b"name", b"", 0o644, 0, 0, b"", b"", 0, 0, 0)


def test_attributes_are_those_that_engines_set() -> None:
    records = {
        b"LIBARCHIVE.xattr.user.a": b"QQ",
        b"SCHILY.xattr.user.b": b"S",
        b"SCHILY.xattr.user.empty": b"",
        b"SCHILY.xattr.com.apple.provenance": b"\1",
    }
    file = member()
    pax.apply(file, records)
    assert file.xattrs == {b"user.b": b"S", b"user.empty": b""}
    assert file.is_adjusted
    pax.apply(plain := member(), {b"SCHILY.xattr.user.b": b"S"})
    assert not plain.is_adjusted


@pytest.mark.parametrize("keyword", [b"size", b"uid", b"gid", b"mtime", b"atime", b"ctime"])
@pytest.mark.parametrize("kind", [b"0", b"5"])
def test_numbers_that_are_none_are_a_value_error_whether_they_are_used_or_not(
    keyword: bytes, kind: bytes
) -> None:
    with pytest.raises(ValueError, match="not a"):
        pax.apply(member(kind), {keyword: b"five"})
    pax.apply(same := member(kind), {keyword: b""})
    assert same == member(kind), "an empty value says nothing"
