"""What differs between two trees."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.rootfs import differences
from tests.rootfs.roots import root_fs
from tests.tar.archives import extended, header, padded

Parts = Sequence[tuple[int, bytes]]


def sparse(size: int, parts: Parts) -> bytes:
    """A layer with one file, of which only some parts are stored."""
    numbers = b",".join(b"%d,%d" % (offset, len(data)) for offset, data in parts)
    says = {b"GNU.sparse.major": b"0", b"GNU.sparse.minor": b"1", b"GNU.sparse.size": b"%d" % size}
    says |= {b"GNU.sparse.map": numbers, b"GNU.sparse.numblocks": b"%d" % len(parts)}
    stored = b"".join(data for _, data in parts)
    return extended(b"x", says) + header(size=len(stored)) + padded(stored) + bytes(1024)


def whole(data: bytes) -> bytes:
    """A layer with one file that is stored as it is."""
    return header(size=len(data)) + padded(data) + bytes(1024)


def differing(before: bytes, after: bytes) -> list[str]:
    """In what the only file of two layers differs."""
    found = differences(root_fs(before), root_fs(after))
    return [what for difference in found for what in difference.differs]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([(5, b"ab")], [(5, b"a"), (6, b"b")], []),
        ([(5, b"ab")], [(5, b"ac")], ["content"]),
        ([], [(1 << 59, b"\0")], []),
        ([], [(1 << 59, b"a")], ["content"]),
        ([((1 << 60) - 1, b"a")], [((1 << 60) - 1, b"a")], []),
        ([((1 << 60) - 1, b"a")], [((1 << 60) - 1, b"b")], ["content"]),
    ],
)
def test_what_is_a_hole_in_both_files_is_not_read(before: Parts, after: Parts, expected: list[str]) -> None:
    assert differing(sparse(1 << 60, before), sparse(1 << 60, after)) == expected


GAPS = st.integers(0, 200_000)
FILES = st.lists(st.tuples(GAPS, st.binary(min_size=1, max_size=3)), max_size=4)


@given(FILES, FILES, st.booleans())
@settings(deadline=None)
def test_files_are_the_same_if_their_bytes_are_however_they_are_stored(
    one: list[tuple[int, bytes]], other: list[tuple[int, bytes]], equal: bool
) -> None:
    size = 1_000_000

    def placed(gaps: list[tuple[int, bytes]]) -> tuple[bytes, Parts]:
        data, parts, position = bytearray(size), [], 0
        for gap, text in gaps:
            position += gap
            parts.append((position, text))
            data[position : position + len(text)] = text
            position += len(text)
        return bytes(data), parts

    (first, parts), (second, others) = placed(one), placed(one if equal else other)
    expected = [] if first == second else ["content"]
    assert differing(sparse(size, parts), sparse(size, others)) == expected
    assert differing(whole(first), sparse(size, others)) == expected
    assert differing(sparse(size, parts), whole(second)) == expected
