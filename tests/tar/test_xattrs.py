"""Extended attributes that a file can have."""

import pytest

from imgfs.tar.member import DIRECTORY, FIFO, HARDLINK, REGULAR, SYMLINK
from imgfs.tar.xattrs import possible

GOOD = {b"user.a": b"1", b"user." + b"n" * 250: b"v" * (64 << 10), b"user.empty": b""}


@pytest.mark.parametrize(
    "name", [b"", b"user." + b"n" * 251, b"user.a\0b", b"user.", b"user", b"com.apple.provenance", b"USER.a"]
)
def test_impossible_names_are_left_out(name: bytes) -> None:
    assert possible({name: b"x"} | GOOD, REGULAR) == GOOD


def test_values_that_are_too_long_are_left_out() -> None:
    assert possible(GOOD | {b"user.b": b"v" * ((64 << 10) + 1)}, REGULAR) == GOOD


def test_there_are_no_more_names_than_can_be_listed() -> None:
    names = possible({b"user.%05d" % number: b"" for number in range(10_000)}, REGULAR)
    assert 64 << 10 >= sum(len(name) + 1 for name in names) > 65_000


def test_every_namespace_of_linux_is_kept_and_users_own_on_files_and_directories_alone() -> None:
    given = {b"user.a": b"", b"trusted.a": b"", b"security.capability": b""}
    for kind in (REGULAR, DIRECTORY, HARDLINK):
        assert possible(given, kind) == given
    for kind in (SYMLINK, FIFO):
        assert possible(given, kind) == {name: b"" for name in given if name != b"user.a"}


def test_of_the_systems_namespace_there_are_access_lists_alone_where_linux_has_them() -> None:
    access, default = b"system.posix_acl_access", b"system.posix_acl_default"
    given = {access: b"", default: b"", b"system.nfs4_acl": b"", b"system.": b""}
    assert possible(given, DIRECTORY).keys() == {access, default}
    for kind in (REGULAR, HARDLINK, FIFO):
        assert possible(given, kind).keys() == {access}
    assert possible(given, SYMLINK) == {}
