"""Merged trees as one tar."""

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgfs.blob import Blob, MemoryBlob
from imgfs.errors import Corrupt, InvalidImage
from imgfs.tree import AssembledBlob, FlatPlan
from tests.tar.archives import extended, header, long_name
from tests.tools import require_tool
from tests.tree.stacks import (
    Entry,
    merged,
    real_facts,
    stacks,
    tar,
    tree_facts,
)

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FILE, DIRECTORY, SYMLINK, HARDLINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def flat(layers: Sequence[bytes]) -> Blob:
    return AssembledBlob(FlatPlan(merged(layers)), lambda number: MemoryBlob(layers[number]))


def whole(blob: Blob) -> bytes:
    return blob.pread(blob.size, 0)


def members(*layers: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(whole(flat(layers)))) as archive:
        return archive.getmembers()


@SLOW
@given(stacks())
def test_extracted_by_gnu_tar_it_is_the_merged_tree(stack: list[list[Entry]]) -> None:
    layers = [tar(layer) for layer in stack]
    with tempfile.TemporaryDirectory() as folder:
        command = [require_tool("tar"), "xpf", "-", "-C", folder, "--xattrs", "--xattrs-include=*"]
        done = subprocess.run(command, input=whole(flat(layers)), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert real_facts(Path(folder)) == tree_facts(merged(layers), layers)


@SLOW
@given(stacks(), st.data())
def test_any_range_is_that_of_the_whole(stack: list[list[Entry]], data: st.DataObject) -> None:
    blob = flat([tar(layer) for layer in stack])
    expected = whole(blob)
    assert len(expected) == blob.size
    for _ in range(20):
        offset, size = data.draw(st.integers(0, len(expected) + 10)), data.draw(st.integers(0, 3000))
        assert blob.pread(size, offset) == expected[offset : offset + size]


def test_members_are_those_of_the_layers_byte_for_byte() -> None:
    layer = tar([Entry("a", DIRECTORY), Entry("a/b", FILE, "content"), Entry("c", SYMLINK, "a/b")])
    assert whole(flat([layer])) == layer[: len(layer) - len(layer) % 512].rstrip(b"\0").ljust(
        4 * 512, b"\0"
    ) + bytes(1024)


def test_a_hard_link_whose_target_is_gone_is_the_file() -> None:
    below = tar([Entry("a", FILE, "content"), Entry("b", HARDLINK, "a")])
    above = tar([Entry(".wh.a", FILE)])
    (member,) = members(below, above)
    assert (member.name, member.type, member.size) == ("b", FILE, 7)


def test_links_come_after_the_first_name_and_lead_to_it() -> None:
    below = tar([Entry("z", DIRECTORY), Entry("z/file", FILE, "content"), Entry("a", HARDLINK, "z/file")])
    first, second = [member for member in members(below) if not member.isdir()]
    assert (first.type, second.type) == (FILE, HARDLINK)
    assert second.linkname == first.name


def test_names_through_a_symbolic_link_are_where_they_lead() -> None:
    below = tar([Entry("real", DIRECTORY), Entry("way", SYMLINK, "real"), Entry("way/file", FILE, "content")])
    assert [member.name for member in members(below)] == ["real", "real/file", "way"]


def test_names_that_lead_outside_do_not() -> None:
    layer = tar([Entry("../../etc/passwd", FILE, "x"), Entry("/abs", FILE, "y")])
    assert sorted(member.name for member in members(layer)) == ["abs", "etc", "etc/passwd"]


def test_global_headers_say_nothing() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers={"uid": "4242"}) as archive:
        archive.addfile(tarfile.TarInfo("file"))
    (member,) = members(buffer.getvalue())
    assert member.uid == 0


def test_a_file_whose_name_ends_in_a_slash_is_a_file_to_every_tar() -> None:
    layer = header(b"file/", size=1) + b"x".ljust(512, b"\0") + bytes(1024)
    (member,) = members(layer)
    assert (member.name, member.type) == ("file", FILE)


def test_what_has_no_data_hides_nothing_of_what_follows_whatever_its_size_says() -> None:
    """The old form is a file's type and a slash; new headers say so to tools that take its size for data."""
    directory, link = header(b"d/", kind=b"\0", size=700), header(b"l", kind=b"2", linkname=b"e", size=700)
    layer = directory + header(b"d/in") + link + header(b"e") + bytes(1024)
    command = [require_tool("tar"), "tf", "-"]
    done = subprocess.run(command, input=whole(flat([layer])), capture_output=True, check=True)
    assert done.stdout.split() == [b"d/", b"d/in", b"l", b"e"]


_TIMES = b"14214512131\x0014214512131\0"
UNUSUAL = {
    "V7": header(b"name", magic=bytes(8)),
    "contiguous": header(b"name", kind=b"7"),
    "times where others have a prefix": header(b"name", magic=b"ustar  \0", prefix=_TIMES),
    "times and a prefix": header(b"name", prefix=b"a" * 131, tail=_TIMES + b"tar\0"),
    "a prefix where others have times": header(b"name", magic=b"ustar  \0", prefix=b"a"),
    "Solaris": extended(b"X", {b"path": b"name"}) + header(),
    "two of pax": extended(b"x", {b"path": b"a"}) + extended(b"x", {b"mtime": b"1"}) + header(b"name"),
    "two of GNU": long_name(b"L", b"a") + long_name(b"L", b"name") + header(),
    "a size that pax says alone": extended(b"x", {b"size": b"600"}) + header(b"name") + b"x" * 1024,
    "pax and GNU": long_name(b"L", b"name") + extended(b"x", {b"path": b"a"}) + header(),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_every_tool_finds_what_some_would_read_in_another_way_in_the_layer(kind: str, tmp_path: Path) -> None:
    layer = UNUSUAL[kind] + bytes(1024)
    tree = merged([layer])
    paths = sorted(tree.path(entry) for entry in tree.walk())
    archive = tmp_path / "flat.tar"
    archive.write_bytes(whole(flat([layer])))
    for command in (["tar"], ["bsdtar"], ["busybox", "tar"]):
        done = subprocess.run([require_tool(command[0]), *command[1:], "-tf", archive], capture_output=True)
        assert (done.returncode, done.stderr) == (0, b""), command
        assert sorted(name.rstrip(b"/") for name in done.stdout.splitlines()) == paths, command
    with tarfile.open(archive) as read:
        assert sorted(name.encode() for name in read.getnames()) == paths
        assert {member.type for member in read} <= {FILE, DIRECTORY}


@pytest.mark.parametrize("number", range(6))
def test_what_no_file_has_is_not_in_its_header_either(number: int) -> None:
    says, at = [
        ({b"SCHILY.xattr.com.apple.provenance": b"x", b"SCHILY.xattr.user.a": b"y"}, {}),
        ({b"mtime": b"-1"}, {}),
        ({b"mtime": b"9999999999999.5"}, {}),
        ({b"uid": b"4294967295"}, {}),
        ({b"gid": b"%d" % (7 << 32)}, {}),
        ({b"comment": b"none"}, {"uid": b"\xff" * 8}),
    ][number]
    (member,) = members(extended(b"x", says) + header(b"file", **at) + bytes(1024))
    assert (member.uid, member.gid, member.mtime) == (0, 0, 0)
    assert "SCHILY.xattr.com.apple.provenance" not in member.pax_headers
    assert ("SCHILY.xattr.user.a" in member.pax_headers) == (number == 0)


@pytest.mark.parametrize("name", [b"user.\xff", b"user.a\nb", b"user.\xc3\xbc"])
def test_attributes_of_any_name_are_in_new_headers(name: bytes, tmp_path: Path) -> None:
    record = {b"SCHILY.xattr." + name: b"\0\xff"}
    tar = whole(flat([extended(b"x", record) + header(b".//file") + bytes(1024)]))
    assert merged([tar]).xattrs == {1: {name: b"\0\xff"}}
    command = [require_tool("tar"), "--xattrs", "--xattrs-include=*", "-xf", "-"]
    subprocess.run(command, cwd=tmp_path, input=tar, check=True)
    assert os.listxattr(tmp_path / "file") == [os.fsdecode(name)]


def test_new_headers_say_all_that_the_old_ones_did() -> None:
    says = {b"mtime": b"1.25", b"SCHILY.xattr.user.a": b"\xff\x00\xc3\xbc", b"path": b"way/\xff\xc3\xbc"}
    link = header(b"way", kind=b"2", linkname=b"real")
    layer = header(b"real", kind=b"5") + link + extended(b"x", says) + header(size=1) + b"x".ljust(512, b"\0")
    tree = merged([whole(flat([layer]))])
    (entry,) = tree.children(1)
    assert tree.path(entry) == b"real/\xff\xc3\xbc"
    assert tree.mtimes[entry] == 1_250_000_000
    assert tree.xattrs[entry] == {b"user.a": b"\xff\x00\xc3\xbc"}


@pytest.mark.parametrize(("first", "second"), [("", "./"), ("./", ""), ("./", "./")])
def test_names_are_written_as_docker_export_writes_them(first: str, second: str) -> None:
    """GNU tar takes `./a/b` for something outside of `a`, and restores the time of `a` before it makes that."""
    below = tar([Entry(f"{first}a", DIRECTORY), Entry(f"{first}a/x", FILE), Entry(f"{first}a/y", FILE)])
    names = [member.name for member in members(below, tar([Entry(f"{second}a/b", FILE)]))]
    assert sorted(names) == ["a", "a/b", "a/x", "a/y"]


def test_files_that_are_too_large_together_are_refused() -> None:
    sparse = {
        b"GNU.sparse.major": b"0",
        b"GNU.sparse.minor": b"1",
        b"GNU.sparse.numblocks": b"0",
        b"GNU.sparse.size": b"%d" % (1 << 60),
    }
    layer = b"".join(
        extended(b"x", sparse | {b"GNU.sparse.name": b"/%d" % number}) + header() for number in range(5)
    )
    with pytest.raises(InvalidImage, match="too large"):
        flat([layer])


def test_many_small_ranges_are_not_read_where_that_could_take_long() -> None:
    parts = b",".join(b"%d,1" % (2 * number) for number in range(5000))
    says = {b"GNU.sparse.map": parts, b"GNU.sparse.size": b"10000", b"GNU.sparse.name": b"/x"}
    says[b"GNU.sparse.numblocks"] = b"5000"
    blob = flat([extended(b"x", says) + header(size=5000) + b"x" * 5120])
    assert blob.pread(10_000, 512) == b"x\0" * 5000
    assert blob.try_pread(500, 512) == b"x\0" * 250
    assert blob.try_pread(10_000, 512) is None


@pytest.mark.parametrize("missing", [1, 100, 509])
def test_padding_that_a_layer_lacks_is_there(missing: int) -> None:
    """Engines take a layer that is cut within the padding of its last member."""
    whole_layer = tar([Entry("a", FILE, "one"), Entry("b", FILE, "two")])[: 4 * 512]
    blob = flat([whole_layer[:-missing], tar([Entry("c", FILE, "three")])])
    assert [member.name for member in members(whole_layer[:-missing])] == ["a", "b"]
    assert whole(blob).startswith(whole_layer)
    assert blob.pread(10, 4 * 512 - 5) == whole(blob)[4 * 512 - 5 :][:10]


def test_data_that_a_layer_lacks_is_an_error_and_no_zeros() -> None:
    layer = tar([Entry("a", FILE, "one"), Entry("b", FILE, "two")])[: 4 * 512]
    blob = AssembledBlob(FlatPlan(merged([layer])), lambda number: MemoryBlob(layer[: -512 + 2]))
    with pytest.raises(Corrupt, match="ends before"):
        blob.pread(4096, 0)


def test_an_empty_tree_is_an_empty_tar() -> None:
    assert whole(flat([])) == bytes(1024)
