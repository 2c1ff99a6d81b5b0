"""Members packed and unpacked again, as many as memory should hold."""

import msgspec
import pytest

from imgfs.blob import MemoryBlob
from imgfs.budget import SMALL
from imgfs.errors import Corrupt
from imgfs.layers.member_list import MemberPacker, packed_members, unpack_members
from imgfs.tar import Member, scan_blob
from tests.images import layer_tar

DATA = layer_tar({f"some/name-{number}": b"x" * number for number in range(300)})


def test_members_are_packed_and_unpacked_in_batches() -> None:
    members = list(scan_blob(MemoryBlob(DATA))) * 30
    members[7].xattrs = {b"user.a": b"\0\xff"}
    members[8].sparse = [(0, 5), (10, 7)]
    packer = MemberPacker()
    for start in range(0, len(members), 700):
        packer.add(members[start : start + 700])
    packed = packer.finish()
    assert list(unpack_members(packed)) == members
    assert len(packed) < 40 * len(members)
    assert list(unpack_members(MemberPacker().finish())) == []


def test_members_with_equal_attributes_share_them() -> None:
    members = [msgspec.structs.replace(member(b"x"), xattrs={b"user.a": b"1" * 1000}) for _ in range(9)]
    found = list(packed_members(members))
    assert found == members
    assert len({id(of.xattrs) for of in found}) == 1


def test_a_list_of_members_is_gone_through_as_often_as_wanted() -> None:
    members = [member(b"%d" % number) for number in range(3000)]
    found = packed_members(members)
    assert list(found) == list(found) == members
    assert (len(found), found[2000], found[-1], found[1:3]) == (
        3000,
        members[2000],
        members[-1],
        members[1:3],
    )


def test_more_members_than_memory_should_hold_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those before are; and what one member brings along counts, too."""
    monkeypatch.setattr("imgfs.layers.member_list.MOST_MEMORY", 100_000)
    members = list(scan_blob(MemoryBlob(DATA)))
    packer = MemberPacker()
    with pytest.raises(Corrupt, match="one of too many"):
        packer.add(members)
    kept = list(unpack_members(packer.finish()))
    assert 150 < len(kept) < 200
    assert kept == members[: len(kept)]
    for hostile in (
        {"sparse": [(place, 1) for place in range(0, 2000, 2)]},
        {"xattrs": {b"a": bytes(200_000)}},
        {"xattrs": {bytes(200_000): b"a"}},
    ):
        with pytest.raises(Corrupt, match="one of too many"):
            MemberPacker().add([msgspec.structs.replace(members[0], **hostile)])


def test_a_layer_stored_in_few_bytes_may_have_fewer_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.layers.member_list.MOST_OF_SMALL", 100_000)
    members = [member(b"%d" % number) for number in range(300)]
    MemberPacker(SMALL).add(members)
    with pytest.raises(Corrupt, match="one of too many"):
        MemberPacker(SMALL - 1).add(members)


def member(name: bytes) -> Member:
    return Member(0, 0, 512, 0, 0, b"0", name, b"", 0, 0, 0, b"", b"", 0, 0, 0)


def test_one_member_may_be_larger_than_a_batch() -> None:
    packer = MemberPacker()
    packer.add([member(b"n" * 900_000), member(b"x")])
    assert [len(found.name) for found in unpack_members(packer.finish())] == [900_000, 1]


LONG, MANY = b"n" * 1_000_000, range(1 << 40, (1 << 40) + 10_000)
LARGE = {
    "name": LONG,
    "linkname": LONG,
    "xattrs": {LONG: b""} | {b"%d" % number: b"" for number in MANY},
    "sparse": [(number, number) for number in MANY],
}


@pytest.mark.parametrize("field", LARGE)
def test_whatever_is_packed_can_be_unpacked(field: str) -> None:
    members = [msgspec.structs.replace(member(b"file"), **{field: LARGE[field]})] * 70
    packer = MemberPacker()
    packer.add(members)
    assert list(unpack_members(packer.finish())) == members


def test_a_member_that_could_not_be_unpacked_is_not_packed() -> None:
    packer = MemberPacker()
    with pytest.raises(Corrupt, match="one of too many"):
        packer.add([member(b"x"), member(b"n" * (64 << 20))])
    assert list(unpack_members(packer.finish())) == [member(b"x")]
