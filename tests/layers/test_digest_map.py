"""Digests of files by their places, as indexes of layers have them."""

import hashlib
from pathlib import Path

import pytest

from imgfs.cache import Cache
from imgfs.errors import Corrupt
from imgfs.layers import Indexer, LayerChoice, file_digests
from imgfs.layers.digest_map import map_digests
from imgfs.layers.member_digests import UNKNOWN
from imgfs.layers.member_list import packed_members
from imgfs.tar import Member
from tests.images import layer_tar
from tests.layers.stored_layers import index_of, stored_layer

FILES = {"a": b"x" * 700, "b": None, "c": b"", "d": b"y"}
TAR = layer_tar(FILES)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.mark.parametrize("encoder", ["plain", "gzip", "zstd frames"])
def test_an_index_has_the_digests_of_files_if_it_was_made_with_them(encoder: str, tmp_path: Path) -> None:
    for with_spans in (False, True):
        folder = tmp_path / str(with_spans)
        indexer = Indexer(Cache(str(folder), 1 << 30), with_spans=with_spans)
        layer = stored_layer(indexer, tmp_path / "layer", TAR, encoder)
        assert file_digests(layer, None) is None  # it is not indexed, and not to be for this
        index_of(layer, with_copy=False)
        found = file_digests(LayerChoice(layer, list), None)
        assert (found is not None) is with_spans
        assert file_digests(layer, "another copy") is None
    assert found is not None
    places = {member.name: member.offset for member in layer.members()}
    assert {name: found.at(places[name]) for name in places} == {
        b"a": sha256(b"x" * 700), b"b/": None, b"c": None, b"d": sha256(b"y")
    }  # fmt: skip
    assert found.at(places[b"a"] + 1) is None


def member(offset: int, size: int) -> Member:
    return Member(offset, offset, offset + 512, size, size, b"0", b"x", b"", 0o644, 0, 0, b"", b"", 0, 0, 0)


def test_digests_that_are_not_those_of_the_members_are_refused() -> None:
    listed = packed_members([member(0, 700), member(1536, 1)])
    assert map_digests(listed, b"") is None
    found = map_digests(listed, UNKNOWN + sha256(b"y"))
    assert found is not None
    assert (found.at(0), found.at(1536)) == (None, sha256(b"y"))
    for wrong in (sha256(b"y"), UNKNOWN * 3, UNKNOWN + b"short"):
        with pytest.raises(Corrupt, match="digests of files"):
            map_digests(listed, wrong)
