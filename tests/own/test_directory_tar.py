"""A directory as a tar."""

import os
from pathlib import Path

import pytest

from imgfs.blob import MemoryBlob
from imgfs.own.directory_tar import directory_chunks
from imgfs.tar import scan_blob


@pytest.mark.parametrize("name", [b"user.\xff", b"user.a\nb", b"user.\xc3\xbc"])
def test_attributes_of_any_name_are_kept(name: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.setxattr(tmp_path / "file", name, b"\0\xff")
    (member,) = scan_blob(MemoryBlob(b"".join(directory_chunks(str(tmp_path)))))
    assert member.xattrs == {name: b"\0\xff"}


def test_an_attribute_that_no_engine_would_read_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its name would end at the sign that ends a keyword."""
    (tmp_path / "file").touch()
    os.setxattr(tmp_path / "file", "user.a=b", b"x")
    (member,) = scan_blob(MemoryBlob(b"".join(directory_chunks(str(tmp_path)))))
    assert member.xattrs is None
    assert "'user.a=b'" in caplog.text
