import random

import pytest

from imgfs.blob import MemoryBlob
from imgfs.errors import Corrupt
from imgfs.layers.compact_members import MAGIC, compact, expand
from imgfs.layers.member_list import MemberList, packed_members
from imgfs.tar import Member, scan_blob
from tests.images import layer_tar
from tests.layers.test_toc_layer import TAR

MANY = layer_tar(
    {f"usr/share/doc/package-{number // 9}/file-{number}": b"x" * (number % 1500) for number in range(9000)}
)


def members(tar: bytes) -> list[Member]:
    return list(scan_blob(MemoryBlob(tar), as_engines=True))


@pytest.mark.parametrize("tar", [TAR, MANY, layer_tar({})], ids=["all kinds", "many", "none"])
def test_members_are_the_same_again_in_fewer_bytes(tar: bytes) -> None:
    before = list(packed_members(members(tar)))
    packed = compact(before)
    assert list(expand(packed)) == list(MemberList(packed)) == before
    assert len(packed) <= max(100, 0.7 * len(packed_members(members(tar))._packed)) or tar is TAR


def test_the_same_members_give_the_same_bytes() -> None:
    assert compact(members(MANY)) == compact(list(packed_members(members(MANY))))


def test_damage_is_found() -> None:
    packed = compact(members(MANY))
    for position in random.Random(1).sample(range(len(MAGIC), len(packed)), 40):
        broken = bytearray(packed)
        broken[position] ^= 4
        with pytest.raises(Corrupt):
            list(expand(bytes(broken)))
    with pytest.raises(Corrupt):
        list(expand(packed[:-3]))


def test_places_that_cannot_be_are_refused() -> None:
    (member, *_) = members(MANY)
    for name in ("offset", "data_offset"):
        odd = members(MANY)[0]
        setattr(odd, name, -5000)
        with pytest.raises(Corrupt, match="out of order"):
            list(expand(compact([odd])))
    assert list(expand(compact([member]))) == [member]
