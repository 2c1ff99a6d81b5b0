"""Names in a tar as paths."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfs.tar.paths import MAX_NAME, MAX_PATH, cleaned, components, steps

_NAMES = st.lists(st.sampled_from([b"a", b"bb", b".", b"..", b"", b".c", b"..."])).map(b"/".join)


@given(_NAMES)
def test_a_name_is_cleaned_as_if_the_root_were_a_file_systems(name: bytes) -> None:
    expected = posixpath.normpath(b"/" + name).strip(b"/")
    assert cleaned(name) == expected
    assert components(name) == (expected.split(b"/") if expected else [])


@pytest.mark.parametrize("clean", [components, cleaned])
def test_what_no_file_system_accepts_is_a_value_error(clean: type) -> None:
    clean(b"a/" * (MAX_PATH // 2))
    for name in (b"a/" * (MAX_PATH // 2) + b"b", b"a\0b"):
        with pytest.raises(ValueError, match="a path"):
            clean(name)


def test_too_long_a_component_is_a_value_error() -> None:
    assert components(b"n" * MAX_NAME) == [b"n" * MAX_NAME]
    with pytest.raises(ValueError, match="more than 255 bytes"):
        components(b"a/" + b"n" * (MAX_NAME + 1))
    assert cleaned(b"./" + b"n" * (MAX_NAME + 1)) == b"n" * (MAX_NAME + 1)


def test_the_steps_of_a_link_keep_its_way_up() -> None:
    assert steps(b"/a/.././/b/") == [b"a", b"..", b"b"]
