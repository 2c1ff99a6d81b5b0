"""Images found by the names and IDs that people give."""

import pytest

from imgfs.digest import ImageID
from imgfs.errors import AmbiguousID, ImageNotFound
from imgfs.sources.names import Names
from imgfs.store import DigestIndex

ONE, TWO = ImageID.from_hex("ab" * 32), ImageID.from_hex("ac" * 32)
NAMES = Names({"docker.io/library/box:1": ONE, "box:2": TWO, "other:1": TWO}, DigestIndex([ONE, TWO]))


def test_a_name_is_found_as_people_write_it() -> None:
    assert NAMES.resolve("box:1") == NAMES.resolve("docker.io/library/box:1") == ONE
    assert NAMES.name_meant("box:1") == "docker.io/library/box:1"
    assert NAMES.name_meant("absent") is None


def test_an_id_is_found_by_a_unique_prefix() -> None:
    assert NAMES.resolve("ac") == NAMES.resolve(TWO) == TWO
    with pytest.raises(AmbiguousID):
        NAMES.resolve("a")
    for term in ("", "ff"):
        with pytest.raises(ImageNotFound):
            NAMES.resolve(term)


def test_an_image_has_all_of_its_names() -> None:
    assert NAMES.tags_of(TWO) == ["box:2", "other:1"]
    assert NAMES.tags_of(ImageID.from_hex("ff" * 32)) == ()
