"""The fields of headers in each dialect; whole headers are compared with other programs' in test_scanner_as_go."""

import pytest

from imgfs.tar.dialects import HEADER, common, old_sparse_size
from tests.tar.archives import header

_TIMES = b"00000000001\0" * 2


def fields(block: bytes) -> tuple[bytes, bytes]:
    _, ownership, *_, newer = HEADER.unpack(block)
    return ownership, newer


def test_a_prefix_is_one_of_ustar() -> None:
    found = common(*fields(header(b"name", prefix=b"folder", mode=b"0004755\0")))
    assert (found.prefix, found.mode, found.is_plain) == (b"folder/", 0o4755, True)


def test_v7_has_no_more_than_an_owner() -> None:
    found = common(*fields(header(b"name", magic=bytes(8), prefix=b"no prefix")))
    assert (found.prefix, found.uname, found.is_plain) == (b"", b"", False)


def test_gnu_has_times_in_place_of_a_prefix() -> None:
    assert common(*fields(header(b"name", magic=b"ustar  \0"))).is_plain
    found = common(*fields(header(b"name", magic=b"ustar  \0", prefix=_TIMES)))
    assert (found.prefix, found.is_plain) == (b"", False)
    found = common(*fields(header(b"name", magic=b"ustar  \0", prefix=b"written by Go")))
    assert (found.prefix, found.is_plain) == (b"written by Go/", False)


def test_star_has_times_behind_a_prefix() -> None:
    found = common(*fields(header(b"name", prefix=b"a" * 131, tail=_TIMES + b"tar\0")))
    assert (found.prefix, found.is_plain) == (b"a" * 131 + b"/", False)
    with pytest.raises(ValueError, match="not a number"):
        common(*fields(header(b"name", prefix=b"a" * 131, tail=b"x" * 24 + b"tar\0")))


def test_only_gnu_has_sparse_files_of_the_old_format() -> None:
    with pytest.raises(ValueError, match="dialect"):
        old_sparse_size(header(b"name", kind=b"S"))
    block = bytearray(header(b"name", kind=b"S", magic=b"ustar  \0"))
    block[483:495] = b"00000001750\0"
    assert old_sparse_size(bytes(block)) == 1000
