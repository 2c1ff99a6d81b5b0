"""Checksums, numbers and names in headers."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfs.tar.fields import (
    BLOCK,
    checksum_matches,
    decimal,
    is_possible,
    number,
    padded,
    possible_owner,
    possible_time,
    text,
)


def checksums(block: bytes) -> tuple[int, int]:
    """The sums of a header's bytes, unsigned and signed, its checksum taken as blanks."""
    rest = block[:148] + block[156:]
    return 256 + sum(rest), 256 + sum(byte - 256 * (byte > 127) for byte in rest)


@given(st.binary(min_size=BLOCK, max_size=BLOCK))
def test_a_checksum_is_the_sum_of_signed_or_unsigned_bytes(block: bytes) -> None:
    unsigned, signed = checksums(block)
    for total in {unsigned, signed}:
        field = b"%06o\0 " % max(total, 0)
        good = block[:148] + field + block[156:]
        assert checksum_matches(good, field) == (total >= 0)
    other = b"%06o\0 " % (unsigned + 1)
    if unsigned + 1 != signed:
        assert not checksum_matches(block[:148] + other + block[156:], other)


def test_the_largest_possible_checksum_is_summed_right() -> None:
    block = b"\xff" * BLOCK
    field = b"%06o\0 " % (504 * 255 + 8 * 32)
    assert checksum_matches(block[:148] + field + block[156:], field)


def test_any_changed_byte_changes_the_checksum() -> None:
    dice = random.Random(1)
    block = bytearray(dice.randbytes(BLOCK))
    field = b"%06o\0 " % checksums(bytes(block))[0]
    block[148:156] = field
    for place in [*range(148), *range(156, BLOCK)]:
        hurt = bytearray(block)
        hurt[place] ^= 1
        assert not checksum_matches(bytes(hurt), field)


@given(st.integers(0, 8**11 - 1))
def test_octal_numbers_are_read_with_whatever_is_around_them(value: int) -> None:
    for field in (b"%011o\0", b"%011o ", b"%o\0", b" %o ", b"%o"):
        assert number((field % value)[:12].ljust(12, b"\0")) == value


@given(st.one_of(st.integers(-(1 << 86), (1 << 86) - 1), st.integers(-(1 << 64), 1 << 64)))
def test_base_256_numbers_have_a_sign(value: int) -> None:
    field = bytearray(value.to_bytes(12, "big", signed=True))
    field[0] |= 0x80
    if -(1 << 63) <= value < 1 << 63:
        assert number(bytes(field)) == value
    else:
        with pytest.raises(ValueError, match="too large"):
            number(bytes(field))


@pytest.mark.parametrize("field", [b"\0" * 8, b" " * 8, b" \0      ", b"0000000\0"])
def test_blank_means_nothing(field: bytes) -> None:
    assert number(field) == 0


@pytest.mark.parametrize(
    "field",
    [
        *(b"9000000\0", b"0x12345\0", b"-000001\0", b"1_00000\0", b"12 3\0\0\0\0"),
        *(b"+12\0\0\0\0\0", b"12 \0003\0\0"),
    ],
)
def test_what_is_no_number_is_a_value_error(field: bytes) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        number(field)


def test_names_end_at_their_first_nul_and_sizes_round_up() -> None:
    assert text(b"name\0rest") == b"name"
    assert text(b"x" * 100) == b"x" * 100
    assert [padded(size) for size in (0, 1, 511, 512, 513)] == [0, 512, 512, 512, 1024]


def test_a_checksum_is_octal() -> None:
    block = bytearray(BLOCK)
    block[148:156] = b"\x80" + bytes(5) + b"\1\0"
    with pytest.raises(ValueError, match="is not a number"):
        checksum_matches(bytes(block), bytes(block[148:156]))


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 5000))
def test_decimal_numbers_may_have_any_number_of_leading_zeros(value: int, zeros: int) -> None:
    for sign in ("-",) if value < 0 else ("", "+"):
        assert decimal(f"{sign}{'0' * zeros}{abs(value)}".encode()) == value


@pytest.mark.parametrize(
    "value", [b"", b"+", b"-", b"--1", b"1_0", b" 1", b"1\n", b"0x1", b"\xb2", b"%d" % (1 << 63), b"9" * 5000]
)
def test_what_is_no_decimal_number_is_a_value_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="number"):
        decimal(value)


def test_owners_are_what_chown_makes_of_them() -> None:
    assert [possible_owner(of) for of in (0, 5 << 32 | 7, -2, 0xFFFFFFFE)] == [0, 7, 0xFFFFFFFE, 0xFFFFFFFE]
    assert [possible_owner(of) for of in (0xFFFFFFFF, -1, (1 << 40) - 1)] == [0, 0, 0], "root is left"


def test_times_that_engines_do_not_set_are_the_epoch() -> None:
    last = (1 << 63) - 1
    assert [possible_time(of) for of in (-1, 0, 1, last, last + 1)] == [0, 0, 1, last, 0]


@pytest.mark.parametrize("time", [-1, 0, (1 << 63) - 1, 1 << 63])
@pytest.mark.parametrize("owner", [-1, 0, 0xFFFFFFFE, 0xFFFFFFFF, 1 << 32])
def test_what_is_possible_stays_as_it_is(owner: int, time: int) -> None:
    stays = possible_owner(owner) == owner and possible_time(time) == time
    assert is_possible(owner, 0, time) == is_possible(0, owner, time) == stays
