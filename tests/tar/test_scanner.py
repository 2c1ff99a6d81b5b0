"""Members found in tars that real tools wrote, compared with what Python's tarfile says, and in broken ones."""

import os
import random
import subprocess
import tarfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfs.blob import MemoryBlob
from imgfs.errors import Corrupt
from imgfs.tar import Member, Scanner, scan_blob
from tests.tar.archives import (
    BLOCK,
    ENDING,
    content,
    extended,
    facts,
    from_tarfile,
    header,
    long_name,
    padded,
    python_tar,
    tree,
)
from tests.tools import require_tool

WRITERS = {
    "gnu": ["tar", "--format=gnu"],
    "gnu sparse": ["tar", "--format=gnu", "--sparse"],
    "oldgnu sparse": ["tar", "--format=oldgnu", "--sparse"],
    "pax": ["tar", "--format=pax"],
    "pax sparse 0.0": ["tar", "--format=pax", "--sparse", "--sparse-version=0.0"],
    "pax sparse 0.1": ["tar", "--format=pax", "--sparse", "--sparse-version=0.1"],
    "pax sparse 1.0": ["tar", "--format=pax", "--sparse", "--sparse-version=1.0"],
    "bsdtar pax": ["bsdtar", "--format=pax"],
    "bsdtar gnu": ["bsdtar", "--format=gnutar"],
    "busybox": ["busybox", "tar"],
}
SHORT_NAMES = {"v7": ["tar", "--format=v7"], "ustar": ["tar", "--format=ustar"]}
SHORT = ["empty", "file-1", "file-513", "file-70000", "zeros", "dir", "hard link"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(tmp_path_factory.mktemp("tar") / "tree")


def packed(command: list[str], folder: Path, archive: Path, *names: str) -> Path:
    """`folder`, or what is named in it, as a tar that a tool made."""
    require_tool(command[0])
    pack = ["-cf", str(archive), "-C", str(folder), *(names or ["."])]
    if command[0] == "busybox":
        pack = ["-c", "-f", *pack[1:]]
    subprocess.run([*command, *pack], check=True, capture_output=True)
    return archive


def scan(data: bytes, step: int) -> list[Member]:
    """The members of a tar that is fed in steps."""
    scanner = Scanner()
    members = []
    for start in range(0, len(data), step):
        members += scanner.feed(data[start : start + step])
    scanner.finish()
    return members


def _scan_blob(data: bytes) -> list[Member]:
    return list(scan_blob(MemoryBlob(data)))


@pytest.mark.parametrize("writer", [*WRITERS, *SHORT_NAMES])
def test_members_are_those_that_tarfile_finds(folder: Path, tmp_path: Path, writer: str) -> None:
    command = (WRITERS | SHORT_NAMES)[writer]
    archive = packed(command, folder, tmp_path / "a.tar", *(SHORT if writer in SHORT_NAMES else ()))
    data = archive.read_bytes()
    members = _scan_blob(data)
    assert len(members) >= len(SHORT)
    assert [facts(member) for member in members] == from_tarfile(archive)
    for step in (1 << 20, 4096, 777):
        assert scan(data, step) == members


@pytest.mark.parametrize("writer", WRITERS)
def test_content_is_where_members_say(folder: Path, tmp_path: Path, writer: str) -> None:
    """Holes of sparse files included, in each of GNU tar's four ways of storing them."""
    data = packed(WRITERS[writer], folder, tmp_path / "a.tar").read_bytes()
    members = _scan_blob(data)
    checked = 0
    for member in members:
        if member.is_file:
            path = os.path.join(os.fsencode(folder), member.name)
            with open(path, "rb") as file:
                assert content(data, member) == file.read()
            checked += 1
    assert checked >= 12
    sparse = next(member for member in members if member.name.endswith(b"sparse"))
    assert (sparse.sparse is not None) == ("sparse" in writer or writer == "bsdtar pax")


def test_any_chunking_gives_the_same_members(folder: Path, tmp_path: Path) -> None:
    for writer in ("pax sparse 1.0", "oldgnu sparse", "gnu"):
        data = packed(WRITERS[writer], folder, tmp_path / "a.tar").read_bytes()
        expected = _scan_blob(data)
        for seed in range(15):
            dice = random.Random(seed)
            scanner, members, position = Scanner(), [], 0
            while position < len(data):
                size = dice.choice([1, 100, 511, 512, 513, 5000, 70_000])
                buffer = bytearray(data[position : position + size])
                members += scanner.feed(memoryview(buffer))
                buffer[:] = bytes(len(buffer))  # nothing may be taken from it later
                position += size
            scanner.finish()
            assert members == expected


def test_data_that_is_skipped_is_not_needed() -> None:
    data = python_tar({"a": bytes(100_000), "b": b"b"})
    scanner = Scanner()
    (first,) = scanner.feed(data[:BLOCK])
    scanner.skip_to(scanner.wanted + BLOCK)  # never further than what is wanted
    assert scanner.position == BLOCK
    scanner.skip_to(scanner.wanted)
    (second,) = scanner.feed(data[scanner.position :])
    assert (first.name, second.name) == (b"a", b"b")
    assert data[second.data_offset : second.data_offset + 1] == b"b"
    assert scanner.ending == second.data_offset + BLOCK


def test_pax_records_go_before_what_headers_say() -> None:
    records = {
        b"path": "nämé".encode() * 100,
        b"linkpath": b"l" * 300,
        b"size": b"5",
        b"uid": b"4000000000",
        b"gid": b"3000000000",
        b"uname": b"somebody",
        b"gname": b"some group",
        b"mtime": b"1700000000.123456789",
        b"SCHILY.xattr.user.a": b"\0binary\n",
        b"LIBARCHIVE.xattr.user.a": b"AAEC",
    }
    (member,) = scan(extended(b"x", records) + header(size=0) + padded(b"hello") + ENDING, 512)
    assert member.name == records[b"path"]
    assert member.linkname == records[b"linkpath"]
    assert (member.size, member.stored_size) == (5, 5)
    assert (member.uid, member.gid) == (4_000_000_000, 3_000_000_000)
    assert (member.uname, member.gname) == (b"somebody", b"some group")
    assert member.mtime_ns == 1_700_000_000_123_456_789
    assert member.xattrs == {b"user.a": b"\0binary\n"}
    assert (member.offset, member.header_offset) == (0, member.data_offset - BLOCK)


def test_global_headers_say_nothing_and_end_what_extensions_said_before_them() -> None:
    data = (
        extended(b"g", {b"uname": b"one", b"comment": b"c" * 1000, b"size": b"7"})
        + header(b"a")
        + extended(b"x", {b"uname": b"two"})
        + header(b"b")
        + extended(b"x", {b"uname": b"two"})
        + long_name(b"L", b"long")
        + extended(b"g", {b"uname": b"three"})
        + header(b"c")
    )
    first, second, third = scan(data + ENDING, 700)
    assert (first.name, first.uname, first.size) == (b"a", b"root", 0)
    assert (second.name, second.uname) == (b"b", b"two")
    assert (third.name, third.uname) == (b"c", b"root")
    for member in (first, third):
        assert member.offset == member.header_offset, "what a member needs does not begin before it"


def test_solaris_extended_headers_are_those_of_pax() -> None:
    (member,) = scan(extended(b"X", {b"path": b"real/name.txt", b"mtime": b"5.5"}) + header() + ENDING, 512)
    assert (member.name, member.mtime_ns) == (b"real/name.txt", 5_500_000_000)


def test_gnu_long_names_and_links_may_be_of_any_bytes() -> None:
    name, link = b"\xff" * 5000, b"l\xfe" * 3000
    data = long_name(b"K", link) + long_name(b"L", name) + header(b"short", kind=b"2", magic=b"ustar  \0")
    (member,) = scan(data + header(b"next") + ENDING, 700)[:1]
    assert (member.name, member.linkname, member.type) == (name, link, b"2")
    assert scan(data + header(b"next") + ENDING, 700)[1].name == b"next"


def test_gnu_long_names_go_before_records_and_empty_ones_say_nothing() -> None:
    records = extended(b"x", {b"path": b"record", b"linkpath": b"record"})
    long = long_name(b"L", b"long") + long_name(b"K", b"link")
    for before in (records + long, long + records):
        (member,) = scan(before + header(kind=b"2", linkname=b"short") + ENDING, 512)
        assert (member.name, member.linkname) == (b"long", b"link")
    empty = long_name(b"L", b"") + long_name(b"K", b"")
    (member,) = scan(empty + header(kind=b"2", linkname=b"short") + ENDING, 512)
    assert (member.name, member.linkname) == (b"file", b"short")


@pytest.mark.parametrize("version", [b"00", b" \0", b"\0\0", b"0 ", b"  ", b"xy"])
def test_prefixes_are_ustars_whatever_its_version_is(version: bytes) -> None:
    block = header(b"name", prefix=b"some/folder", magic=b"ustar\0" + version)
    (member,) = scan(block + ENDING, 512)
    assert (member.name, member.uname) == (b"some/folder/name", b"root")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (b"00000000005\x0000000000006\0", b"name"),
        (b"\0ignored, a time begins with no NUL", b"name"),
        (b"\0" * 12 + b"5", b"name"),
        (b"some/folder", b"some/folder/name"),
        (b"some/f\xc3\xb6lder", b"name"),
    ],
)
def test_gnu_headers_have_times_there_unless_they_are_a_prefix(prefix: bytes, expected: bytes) -> None:
    """Programs in Go before 1.8 wrote one."""
    (member,) = scan(header(b"name", prefix=prefix, magic=b"ustar  \0") + ENDING, 512)
    assert member.name == expected


def test_prefixes_of_star_are_shorter() -> None:
    fields = b"p" * 131 + b"00000000005\0" * 2
    (member,) = scan(header(b"name", prefix=fields, tail=bytes(8) + b"tar\0") + ENDING, 512)
    assert member.name == b"p" * 131 + b"/name"
    with pytest.raises(Corrupt, match="is not a number"):
        scan(header(b"name", prefix=b"p" * 155, tail=bytes(8) + b"tar\0") + ENDING, 512)


def test_v7_headers_have_no_owners_names_and_directories_end_in_a_slash() -> None:
    directory, file = scan(
        header(b"dir/", kind=b"\0", magic=b"", size=700) + header(b"f", kind=b"\0", magic=b"") + ENDING, 512
    )
    assert (directory.type, directory.uname, directory.stored_size) == (b"5", b"", 0)
    assert (file.type, file.is_file) == (b"\0", True)
    for magic in (b"ustar  0", b"ustar\1", b"USTAR\x0000"):
        (member,) = scan(header(magic=magic, prefix=b"prefix", kind=b"3") + ENDING, 512)
        assert (member.name, member.uname, member.devmajor) == (b"file", b"", 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"\x80" + bytes(10) + b"\x05", 5),
        (b"\x80" + bytes(6) + (9 << 30).to_bytes(5, "big"), 9 << 30),
        (b"00000000005\0", 5),
        (b"         5 \0", 5),
        (b"5\0" + b"9" * 10, 5),
        (b"\0" * 12, 0),
    ],
)
def test_sizes_in_every_notation(field: bytes, value: int) -> None:
    scanner = Scanner()
    (member,) = scanner.feed(header(size=field))
    assert member.size == value


def test_links_and_directories_have_no_data_whatever_their_size_says() -> None:
    data = b"".join(header(b"m", kind=kind, size=5000) for kind in (b"1", b"2", b"3", b"4", b"5", b"6"))
    members = scan(data + ENDING, 512)
    assert [member.header_offset for member in members] == [512 * n for n in range(6)]
    assert {member.size for member in members} == {0}


NUMBERS = {
    "a time before 1970": (header(mtime=b"\xff" * 12), (0, 0, 0)),
    "a time after 2262": (header(mtime=b"\x80" + (9_300_000_000).to_bytes(11)), (0, 0, 0)),
    "an owner": (header(uid=b"\xa0" + bytes(6) + b"\x05"), (5, 0, 0)),
    "no owner": (header(uid=b"\x80\0\0\0\xff\xff\xff\xff"), (0, 0, 0)),
    "owners in records": (
        extended(b"x", {b"uid": b"%d" % (5 << 60 | 7), b"gid": b"-1"}) + header(),
        (7, 0, 0),
    ),
    "a time before 1970 in a record": (extended(b"x", {b"mtime": b"-1.5"}) + header(), (0, 0, 0)),
    "a time in a record": (extended(b"x", {b"mtime": b"9" * 18}) + header(), (0, 0, 0)),
    "a time of ten digits": (extended(b"x", {b"mtime": b"9999999999.5"}) + header(), (0, 0, 0)),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_no_file_can_have_are_what_a_tree_makes_of_them(name: str) -> None:
    """So that a layer is listed, indexed and mounted alike; see `test_build`."""
    data, expected = NUMBERS[name]
    (member,) = scan(data + ENDING, 512)
    assert (member.uid, member.gid, member.mtime_ns) == expected
    assert member.is_adjusted


GNU = b"ustar  \0"
SPARSE = {b"GNU.sparse.major": b"0", b"GNU.sparse.minor": b"1", b"GNU.sparse.numblocks": b"0"}
LEADING = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0"}
BROKEN = {
    "checksum": header(checksum=b"0000000\0"),
    "garbage": b"garbage!" * 64,
    "negative size": header(size=b"\xff" * 12),
    "absurd size": header(size=b"\x80\x7f" + b"\xff" * 10),
    "nonsense size": header(size=b"abcdefghijk\0"),
    "negative pax size": extended(b"x", {b"size": b"-1"}) + header(),
    "absurd pax size": extended(b"x", {b"size": b"9" * 19}) + header(),
    "absurd sparse size": header(kind=b"S", magic=GNU, tail=bytes(97) + b"\x80" + b"\xff" * 11 + bytes(17)),
    "absurd pax sparse size": extended(b"x", SPARSE | {b"GNU.sparse.size": b"%d" % (1 << 61)}) + header(),
    "absurd leading sparse size": extended(b"x", LEADING | {b"GNU.sparse.realsize": b"9" * 18 + b"999"})
    + header(size=512)
    + padded(b"0\n"),
    "a number that is too large": header(mtime=b"\x80" + (1 << 80).to_bytes(11)),
    "an owner that is none": header(uid=b"root\0\0\0\0"),
    "an extension whose owner is none": header(uid=b"root\0\0\0\0", kind=b"L"),
    "a directory whose size is none": header(size=b"large\0", kind=b"5"),
    "negative size that a record sets right": extended(b"x", {b"size": b"0"}) + header(size=b"\xff" * 12),
    "path with a NUL": extended(b"x", {b"path": b"a\0b"}) + header(),
    "global header of nonsense": header(kind=b"g", size=20) + padded(b"99 path=name\n"),
    "endless global header": header(kind=b"g", size=(1 << 20) + 1),
    "sparse directory": extended(b"x", SPARSE) + header(kind=b"5"),
    "sparse file in another dialect": header(kind=b"S", magic=b"ustar\x0000"),
    "nonsense pax size": extended(b"x", {b"size": b"5.5"}) + header(),
    "endless extension": header(kind=b"x", size=1 << 30),
    "negative extension": header(kind=b"L", size=b"\xff" * 12),
    "record without length": header(kind=b"x", size=512) + b"hello=world\n" + b"\n" * 500,
    "record too long": header(kind=b"x", size=20) + padded(b"99 path=name\n"),
    "record without equals": header(kind=b"x", size=10) + padded(b"10 pathab\n"),
    "record of no length": header(kind=b"x", size=10) + padded(b"0 path=ab\n"),
    "sparse map out of order": header(
        kind=b"S",
        size=20,
        magic=GNU,
        tail=b"00000000100\x0000000000012\0" + b"00000000000\x0000000000012\0" + bytes(78),
    ),
    "sparse map that does not fit": extended(
        b"x",
        SPARSE | {b"GNU.sparse.map": b"0,10", b"GNU.sparse.numblocks": b"1", b"GNU.sparse.size": b"5"},
    )
    + header(size=10),
    "sparse map without numbers": extended(b"x", LEADING | {b"GNU.sparse.realsize": b"5"})
    + header(size=1024)
    + b"x" * 1024,
    "sparse map of too many": extended(b"x", LEADING | {b"GNU.sparse.realsize": b"5"})
    + header(size=1024)
    + padded(b"999999999\n0\n"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("step", [512, 1 << 20])
def test_what_is_no_header_is_corrupt_and_the_members_before_it_are_kept(name: str, step: int) -> None:
    good = header(b"one", size=3) + padded(b"one") + header(b"two")
    data = good + BROKEN[name] + ENDING
    with pytest.raises(Corrupt, match="tar header at offset"):
        scan(data, step)
    found: list[Member] = []
    with pytest.raises(Corrupt, match="tar header at offset"):
        found.extend(scan_blob(MemoryBlob(data)))  # keeps what came before an error
    assert [member.name for member in found] == [b"one", b"two"]
    scanner, members = Scanner(), []
    with pytest.raises(Corrupt):
        for start in range(0, len(data) + step, step):
            members += scanner.feed(data[start : start + step])
    assert [member.name for member in members] == [b"one", b"two"], "however it is fed"


def whole_ends(data: bytes, members: list[Member]) -> set[int]:
    """Where a tar may be cut: where a header is due, and inside of padding."""
    ends = {0}
    for member in members:
        place = member.offset
        while place < member.header_offset:
            end = place + BLOCK + int(data[place + 124 : place + 135], 8)
            place = end + -end % BLOCK
            ends |= set(range(end, place + 1))
        end = member.data_offset + member.stored_size
        ends |= set(range(end, end + -end % BLOCK + 1))
    return ends


@pytest.mark.parametrize("writer", ["pax sparse 1.0", "oldgnu sparse", "gnu"])
def test_a_cut_is_corrupt_but_where_a_header_is_due_or_inside_of_padding(
    folder: Path, tmp_path: Path, writer: str
) -> None:
    data = packed(WRITERS[writer], folder, tmp_path / "a.tar").read_bytes()
    members = _scan_blob(data)
    scanner = Scanner()
    scanner.feed(data)
    assert scanner.ending is not None
    ends = whole_ends(data, members)
    places = {place for m in members for place in range(m.offset, m.data_offset + 1, BLOCK)}
    places |= {member.data_offset + member.stored_size for member in members}
    for cut in sorted({place + by for place in places for by in (-1, 0, 1, 5)} | {1, scanner.ending + 100}):
        if not 0 <= cut <= len(data):
            continue
        if cut in ends or cut >= scanner.ending + BLOCK:
            expected = [m for m in members if m.data_offset + m.stored_size <= cut]
            assert scan(data[:cut], 1 << 20) == _scan_blob(data[:cut]) == expected
        else:
            for read in (partial(scan, data[:cut], 1 << 20), partial(_scan_blob, data[:cut])):
                with pytest.raises(Corrupt, match="cut off at offset"):
                    read()


def _old_map(blocks: int) -> bytes:
    """A file without data whose map, in the old format, goes on in so many blocks."""
    part = b"00000000000\0" * 2
    begun = header(kind=b"S", magic=GNU, tail=part * 4 + b"\1" + part[:12] + bytes(17))
    return (
        begun + b"".join((part * 21).ljust(504, b"\0") + b"\1" * 8 for _ in range(blocks - 1)) + bytes(BLOCK)
    )


def _leading_map(blocks: int) -> bytes:
    """A file without data whose map, in format 1.0, takes about so many blocks."""
    text = padded(b"%d\n" % (64 * blocks) + b"0000\n000\n" * 64 * blocks)
    return extended(b"x", LEADING | {b"GNU.sparse.realsize": b"0"}) + header(size=len(text)) + text


@pytest.mark.parametrize("with_map", [_old_map, _leading_map])
def test_long_sparse_maps_in_small_pieces_take_no_longer_than_short_ones(
    with_map: Callable[[int], bytes],
) -> None:
    def seconds(blocks: int, count: int) -> float:
        data = with_map(blocks) * count + ENDING
        before = time.process_time()
        assert len(scan(data, BLOCK)) == count
        return time.process_time() - before

    assert seconds(800, 4) < 5 * seconds(8, 400)


def test_a_map_without_an_end_is_corrupt() -> None:
    for data in (_old_map(5000), _leading_map(2040)[:-BLOCK] + b"1" * BLOCK):
        with pytest.raises(Corrupt, match="sparse map"):
            scan(data + ENDING, BLOCK)


def test_what_records_say_of_a_sparse_file_is_not_said_of_the_next() -> None:
    data = extended(b"x", {b"uid": b"5"}) + _old_map(1) + header()
    assert [member.uid for member in scan(data + ENDING, BLOCK)] == [5, 0]


@given(st.binary(max_size=3000), st.integers(0, 2000), st.integers(1, 3000))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_members_or_corrupt(noise: bytes, place: int, step: int) -> None:
    """Fed in steps or read at once, with the same result."""
    good = python_tar({"a": b"a" * 700, "ü" * 120: b"b"})
    data = good[:place] + noise + good[place + len(noise) :]
    results: list[object] = []
    for read in (partial(scan, data, step), partial(scan, data, len(data)), partial(_scan_blob, data)):
        try:
            results.append(read())
        except Corrupt as error:
            results.append(str(error))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_without_an_ending_is_whole(kind: int) -> None:
    data = python_tar({"a": b"a", "b": b""}, kind)[: 3 * BLOCK]
    assert [member.name for member in scan(data, 100)] == [b"a", b"b"]


def test_scanning_reads_headers_and_not_data() -> None:
    class Counted(MemoryBlob):
        read = 0

        def pread(self, size: int, offset: int) -> bytes:
            data = super().pread(size, offset)
            self.read += len(data)
            return data

    blob = Counted(python_tar({f"{n}": bytes(1_000_000) for n in range(10)}))
    assert len(list(scan_blob(blob))) == 10
    assert blob.read < 1_000_000
