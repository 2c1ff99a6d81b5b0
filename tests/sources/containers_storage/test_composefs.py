"""Names of files by the digests of their contents."""

import json

import pytest

from imgfs.errors import Corrupt
from imgfs.sources.containers_storage.composefs import object_names
from tests.images import digest


def _manifest(*entries: tuple[str, bytes]) -> bytes:
    listed = [{"type": "reg", "name": name, "digest": digest(content)} for name, content in entries]
    return json.dumps({"version": 1, "entries": listed}).encode()


def _object(content: bytes) -> bytes:
    name = digest(content)[7:]
    return f"{name[:2]}/{name[2:]}".encode()


@pytest.mark.parametrize("name", [b"etc/passwd", b"./etc/passwd", b"/etc/passwd", b"etc//passwd"])
def test_a_member_is_found_however_its_tar_writes_its_path(name: bytes) -> None:
    assert object_names(_manifest(("etc/passwd", b"root")), "m")(name) == _object(b"root")


def test_members_of_one_name_are_told_apart_by_their_order() -> None:
    naming = object_names(_manifest(("a", b"1"), ("b", b"2"), ("a", b"3")), "m")
    assert [naming(name) for name in (b"a", b"b", b"a")] == [_object(b"1"), _object(b"2"), _object(b"3")]


def test_a_name_that_is_not_utf_8_is_found_as_it_was_written_into_the_manifest() -> None:
    assert object_names(_manifest(("a\ufffdb", b"1")), "m")(b"a\xffb") == _object(b"1")


def test_a_member_that_is_not_listed_or_has_no_digest_keeps_its_name() -> None:
    manifest = json.dumps({"entries": [{"type": "reg", "name": "a", "digest": "../../etc"}]}).encode()
    assert [object_names(manifest, "m")(name) for name in (b"a", b"b")] == [b"a", b"b"]


def test_what_is_no_manifest_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="layer 1"):
        object_names(b"[]", "layer 1")
