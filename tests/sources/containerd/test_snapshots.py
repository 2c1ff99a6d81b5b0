"""Sizes that containerd's snapshotter records; those of a containerd that runs are in `tests.engines`."""

from pathlib import Path

import pytest

from imgfs.blob import FileBlob
from imgfs.sources.containerd.snapshots import read_sizes
from tests.images import digest
from tests.sources.containerd.bolt_files import Tree, database_of

ONE, TWO = digest(b"one"), digest(b"two")


@pytest.mark.parametrize(
    ("size", "bytes_"),
    [(b"\x00", 0), (b"\x02", 1), (b"\x80\x80\x01", 8192), (b"\x01", None), (b"", None), (b"\xff" * 12, None)],
)
def test_sizes_are_varints_of_go(tmp_path: Path, size: bytes, bytes_: int | None) -> None:
    snapshots: Tree = {
        b"default/7/" + ONE.encode(): {b"size": size, b"kind": b"\x03"},
        b"default/8/container": {b"size": b"\x02"},
        b"default/9/" + TWO.encode(): b"a value",
    }
    path = tmp_path / "metadata.db"
    path.write_bytes(database_of({b"v1": {b"snapshots": snapshots}}))
    assert read_sizes(lambda: FileBlob(str(path))) == ({} if bytes_ is None else {ONE: bytes_})
