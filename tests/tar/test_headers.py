"""Headers that are written, as Python's tarfile and the scanner read them."""

import io
import tarfile

import pytest

from imgfs.blob import MemoryBlob
from imgfs.tar import scan_blob
from imgfs.tar.fields import BLOCK
from imgfs.tar.headers import header_block, member_header

CASES = {
    "file": {"name": b"file", "size": 5},
    "long name": {"name": b"d/" * 90 + b"file", "size": 5},
    "name beyond ASCII": {"name": "f\u00fc".encode(), "size": 5},
    "large owner": {"name": b"file", "owner": (3_000_000, 1 << 31), "size": 5},
    "fraction": {"name": b"file", "mtime_ns": 1_500_000_000_123_456_789, "size": 5},
    "attributes": {"name": b"file", "xattrs": {b"user.a": b"1\n2", b"user.b": b""}, "size": 5},
}


@pytest.mark.parametrize("case", CASES)
def test_a_member_is_read_as_it_was_written(case: str) -> None:
    values = {"size": 0, "owner": (0, 0), "mtime_ns": 0, "xattrs": {}} | CASES[case]
    header = member_header(kind=b"0", mode=0o640, **values)  # type: ignore[arg-type]
    assert len(header) % BLOCK == 0
    tar = header + b"hello".ljust(BLOCK, b"\0") + bytes(2 * BLOCK)
    (member,) = scan_blob(MemoryBlob(tar))
    assert (member.name, member.size, member.mode) == (values["name"], 5, 0o640)
    assert (member.uid, member.gid) == values["owner"]
    assert (member.mtime_ns, member.xattrs or {}) == (values["mtime_ns"], values["xattrs"])
    assert not member.is_adjusted
    with tarfile.open(fileobj=io.BytesIO(tar)) as read:
        (info,) = read
        assert (info.name.encode(), info.uid, info.gid) == (values["name"], *values["owner"])
        file = read.extractfile(info)
        assert file is not None
        assert file.read() == b"hello"


def test_directories_end_in_a_slash_and_links_may_be_long() -> None:
    target = b"t" * 300
    tar = member_header(b"d", b"5", 0, 0o755, (0, 0), 0) + member_header(
        b"l", b"2", 0, 0o777, (0, 0), 0, target
    )
    with tarfile.open(fileobj=io.BytesIO(tar + bytes(2 * BLOCK))) as read:
        directory, link = read
    assert directory.isdir()
    assert link.linkname.encode() == target
    assert header_block(b"x", b"0") in member_header(b"x", b"0", 0, 0o644, (0, 0), 0)


def test_a_size_that_no_field_holds_is_in_a_record() -> None:
    header = member_header(b"large", b"0", 8 << 30, 0o644, (0, 0), 0)
    with tarfile.open(fileobj=io.BytesIO(header)) as read:
        info = read.next()
        assert info is not None
        assert info.size == 8 << 30
