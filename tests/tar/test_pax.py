"""Records of extended headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfs.tar import pax
from tests.tar.archives import record

KEYWORD = st.binary(min_size=1, max_size=30).filter(
    lambda key: b"=" not in key and not key.startswith(b"GNU.sparse")
)


@given(st.dictionaries(KEYWORD, st.binary(max_size=2000), max_size=8))
def test_records_hold_any_bytes(records: dict[bytes, bytes]) -> None:
    payload = b"".join(record(key, value) for key, value in records.items())
    assert pax.parse_records(payload) == records
    assert pax.parse_records(payload + bytes(100)) == records, "padding is none"


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
    assert pax.parse_records(payload)[pax.SPARSE_MAP] == b"0,5,9,1"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"5", 5_000_000_000),
        (b"5.", 5_000_000_000),
        (b"5.1", 5_100_000_000),
        (b"5.1234567891", 5_123_456_789),
        (b"-5.25", -5_250_000_000),
        (b"-0.5", -500_000_000),
        (b".5", 500_000_000),
    ],
)
def test_times_have_nanoseconds(value: bytes, expected: int) -> None:
    assert pax.nanoseconds(value) == expected


@pytest.mark.parametrize("value", [b"x", b"1.x", b"--1", b"1e5", b"9" * 30, b"1.-5", b"\xd9\xa3"])
def test_what_is_no_time_is_a_value_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a"):
        pax.nanoseconds(value)


def test_stars_attributes_win_over_libarchives() -> None:
    records = {
        b"LIBARCHIVE.xattr.user.a": b"QQ",
        b"SCHILY.xattr.user.a": b"S",
        b"LIBARCHIVE.xattr.%00": b"QQ==",
    }
    assert pax.xattrs(records) == {b"user.a": b"S", b"\0": b"A"}
    assert pax.xattrs({b"path": b"x"}) is None
