"""The file that remembers a layer: right, or not believed."""

import io
import struct
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob import MemoryBlob
from imgfs.budget import SMALL
from imgfs.codec import Compression
from imgfs.digest import DiffID, Digest
from imgfs.errors import Corrupt
from imgfs.layers.index_file import IndexHeader, LayerIndex, LayerKey, read_header, write_index
from imgfs.layers.index_pass import IndexPass
from imgfs.layers.member_list import MemberPacker, packed_members, unpack_members
from imgfs.tar import Member, scan_blob
from tests.codec.encoders import gzip_member
from tests.images import layer_tar
from tests.layers.stored_layers import big_tar
from tests.tar.archives import extended, header

DATA = layer_tar({f"some/name-{number}": b"x" * number for number in range(300)})
STORED = gzip_member(DATA)
DATA_FOUND = IndexPass(MemoryBlob(STORED), Compression.GZIP, "layer").run(lambda chunk: None)


def written() -> bytes:
    file = io.BytesIO()
    write_index(file, DATA_FOUND.header, DATA_FOUND.sections)
    return file.getvalue()


WRITTEN = written()


def everything(data: bytes) -> tuple[object, ...]:
    """All that an index in these bytes answers."""
    index = LayerIndex(MemoryBlob(data), lambda: MemoryBlob(data))
    header = msgspec.structs.replace(index.header, sections={})
    return header, index.stored_checksums, index.plain_checksums, index.table.dump(), list(index.members())


def test_an_index_says_what_the_pass_found() -> None:
    header, stored, plain, table, members = everything(WRITTEN)
    assert header == DATA_FOUND.header
    assert header == IndexHeader(
        Compression.GZIP, Digest.of(STORED), len(STORED), DiffID.of(DATA), len(DATA), 512 * 600 - 512, ""
    )
    assert (stored, plain) == (DATA_FOUND.sections["stored"], DATA_FOUND.sections["plain"])
    assert table == DATA_FOUND.sections["points"]
    assert members == list(scan_blob(MemoryBlob(DATA)))


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_an_index_with_anything_changed_is_corrupt(data: st.DataObject) -> None:
    """A bit, a stretch of bytes, or the rest of it."""
    hurt = bytearray(WRITTEN)
    place = data.draw(st.integers(0, len(hurt) - 1))
    match data.draw(st.sampled_from(["bit", "bytes", "cut", "inserted"])):
        case "bit":
            hurt[place] ^= 1 << data.draw(st.integers(0, 7))
        case "bytes":
            noise = data.draw(st.binary(min_size=1, max_size=200))
            hurt[place : place + len(noise)] = noise
        case "cut":
            del hurt[place:]
        case "inserted":
            hurt[place:place] = data.draw(st.binary(min_size=1, max_size=200))
    if bytes(hurt[: len(WRITTEN)]) == WRITTEN:
        assert everything(bytes(hurt)) == everything(WRITTEN)
    else:
        with pytest.raises(Corrupt, match="layer index"):
            everything(bytes(hurt))


@given(st.binary(max_size=500))
def test_any_bytes_are_no_index(noise: bytes) -> None:
    for start in (b"", WRITTEN[:29], WRITTEN[:33]):
        with pytest.raises(Corrupt, match="layer index"):
            everything(start + noise)


@pytest.mark.parametrize("version", [b"1", b"3", b"9"])
def test_another_version_is_corrupt(version: bytes) -> None:
    assert WRITTEN.startswith(b"imgfs layer index, version 6\n")
    with pytest.raises(Corrupt, match="another version"):
        everything(WRITTEN.replace(b"version 6", b"version " + version, 1))


def test_a_key_matches_the_index_of_its_layer_and_no_other() -> None:
    header = read_header(MemoryBlob(WRITTEN))
    key = LayerKey(Digest.of(STORED), Compression.GZIP, DiffID.of(DATA), len(STORED), None, len(DATA))
    assert key.matches(header)
    assert replace(key, size=None).matches(header)
    others = {
        "compression": Compression.ZSTD,
        "diff_id": DiffID.of(b"other"),
        "stored_size": len(STORED) + 1,
        "size": len(DATA) + 1,
    }
    for name, other in others.items():
        assert not replace(key, **{name: other}).matches(header)  # type: ignore[arg-type]


OTHER = IndexPass(MemoryBlob(gzip_member(DATA[:99])), Compression.GZIP, "x").run(lambda chunk: None)
HUGE_FRAME = b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 15  # says that it holds nearly 2**64 bytes
FORGERIES = {
    "no checksums": (DATA_FOUND.header, {"stored": b""}),
    "too many checksums": (DATA_FOUND.header, {"plain": DATA_FOUND.sections["plain"] + b"more"}),
    "another size": (msgspec.structs.replace(DATA_FOUND.header, size=1 << 50), {}),
    "no points": (DATA_FOUND.header, {"points": b""}),
    "points of another": (DATA_FOUND.header, {"points": OTHER.sections["points"]}),
    "nonsense digest": (msgspec.structs.replace(DATA_FOUND.header, diff_id="sha256:xyz"), {}),
    "negative ending": (msgspec.structs.replace(DATA_FOUND.header, ending=-5), {}),
    "members of nonsense": (DATA_FOUND.header, {"members": b"nonsense"}),
    "members of too much": (DATA_FOUND.header, {"members": struct.pack("<I", 20) + HUGE_FRAME}),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_nonsense_with_right_hashes_is_corrupt(name: str) -> None:
    header, sections = FORGERIES[name]
    file = io.BytesIO()
    write_index(file, header, DATA_FOUND.sections | sections)
    with pytest.raises(Corrupt):
        everything(file.getvalue())


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


def test_a_pass_over_too_many_members_still_indexes_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.layers.member_list.MOST_OF_SMALL", 100_000)
    found = IndexPass(MemoryBlob(STORED), Compression.GZIP, "layer").run(lambda chunk: None)
    assert "too many" in found.header.damage
    assert found.header.diff_id == DiffID.of(DATA)
    assert 0 < len(list(unpack_members(found.sections["members"]))) < 300


def test_a_small_blob_that_decodes_to_very_much_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgfs.budget.MOST_OF_SMALL", 1 << 20)
    stored = gzip_member(header(size=2 << 20) + bytes((2 << 20) + 1024))
    for data in (stored, bytes(16 << 20)):
        form = Compression.GZIP if data is stored else Compression.PLAIN
        index_pass = IndexPass(MemoryBlob(data), form, "layer x")
        if form is Compression.PLAIN:  # large as it is stored
            index_pass.run(lambda chunk: None)
        else:
            with pytest.raises(Corrupt, match=r"^layer x: \d+ bytes that decode to more than 1 MiB$"):
                index_pass.run(lambda chunk: None)


def test_loading_reads_little_of_what_a_large_layer_has(tmp_path: Path) -> None:
    class Counted(MemoryBlob):
        read = 0

        def pread(self, size: int, offset: int) -> bytes:
            data = super().pread(size, offset)
            self.read += len(data)
            return data

    blob = Counted(WRITTEN)
    assert read_header(blob).size == len(DATA)
    index = LayerIndex(blob, lambda: blob)
    size = len(DATA_FOUND.sections["members"])
    assert index.memory < len(WRITTEN) - size
    before = blob.read
    assert len(index.members()) == 300
    assert blob.read - before == size


def test_plain_and_compressed_layers_are_indexed_alike() -> None:
    data = big_tar(600_000)
    plain, packed = (
        IndexPass(MemoryBlob(stored), kind, "layer").run(lambda chunk: None)
        for stored, kind in ((data, Compression.PLAIN), (gzip_member(data), Compression.GZIP))
    )
    assert plain.header.stored_digest == plain.header.diff_id == packed.header.diff_id == Digest.of(data)
    assert (plain.header.size, plain.header.ending) == (packed.header.size, packed.header.ending)
    assert plain.sections["stored"] == plain.sections["plain"] == packed.sections["plain"]
    assert plain.sections["members"] == packed.sections["members"]
    assert plain.sections["points"] == b""


def test_numbers_of_any_size_can_be_remembered() -> None:
    absurd = header(mtime=b"\x80\0\0\0\x7f" + b"\xff" * 7, uid=b"\xbf" + b"\xff" * 7)
    records = extended(b"x", {b"mtime": b"9" * 18, b"uid": b"9" * 18, b"gid": b"-" + b"9" * 18})
    layer = absurd + records + absurd + bytes(1024)
    found = IndexPass(MemoryBlob(gzip_member(layer)), Compression.GZIP, "layer").run(lambda chunk: None)
    assert not found.header.damage
    without_names = [
        msgspec.structs.replace(found, uname=b"", gname=b"") for found in scan_blob(MemoryBlob(layer))
    ]
    assert list(unpack_members(found.sections["members"])) == without_names


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
