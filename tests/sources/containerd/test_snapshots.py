"""What containerd's snapshotter records of layers; real snapshots are in `tests.engines`."""

import struct
from contextlib import closing
from pathlib import Path

import pytest

from imgfs.blob import Root
from imgfs.digest import ChainID
from imgfs.errors import StoreError
from imgfs.layers import ErofsPlace
from imgfs.sources.containerd.snapshots import EROFS, OVERLAYFS, Snapshot, Snapshots, read_snapshots
from tests.erofs import built
from tests.images import digest, layer_tar
from tests.sources.containerd.bolt_files import Tree, database_of

ONE, TWO = ChainID(digest(b"one")), ChainID(digest(b"two"))


def _root(path: Path, snapshots: Tree) -> Root:
    (path / OVERLAYFS).mkdir(parents=True)
    (path / OVERLAYFS / "metadata.db").write_bytes(database_of({b"v1": {b"snapshots": snapshots}}))
    return Root(path)


@pytest.mark.parametrize(
    ("size", "bytes_"),
    [(b"\x00", 0), (b"\x02", 1), (b"\x80\x80\x01", 8192), (b"\x01", None), (b"", None), (b"\xff" * 12, None)],
)
def test_sizes_are_varints_of_go(tmp_path: Path, size: bytes, bytes_: int | None) -> None:
    snapshots: Tree = {
        b"default/7/" + ONE.encode(): {b"size": size, b"kind": b"\x03", b"id": b"\x83\x02"},
        b"default/8/container": {b"size": b"\x02", b"kind": b"\x03", b"id": b"\x01"},
        b"default/9/" + TWO.encode(): b"a value",
    }
    assert read_snapshots(_root(tmp_path, snapshots)) == {ONE: Snapshot(259, bytes_)}


def test_only_what_was_committed_is_a_layer(tmp_path: Path) -> None:
    snapshots: Tree = {
        b"default/7/" + ONE.encode(): {b"kind": b"\x02", b"id": b"\x01"},
        b"k8s.io/8/" + ONE.encode(): {b"kind": b"\x03", b"id": b"\x02"},
        b"k8s.io/9/" + TWO.encode(): {b"kind": b"\x03"},
    }
    root = _root(tmp_path, snapshots)
    assert read_snapshots(root) == {ONE: Snapshot(2, None)}
    assert Snapshots(root).locate(ONE, None).name == f"{OVERLAYFS}/snapshots/2/fs"
    with pytest.raises(StoreError, match=f"no snapshot of the layer with chain ID {TWO}"):
        Snapshots(root).locate(TWO, None)


def test_without_a_snapshotter_there_is_none(tmp_path: Path) -> None:
    assert Snapshots(Root(tmp_path)).find(ONE) is None


def test_a_tar_is_kept_only_behind_an_image_that_is_its_index(tmp_path: Path) -> None:
    """Of the snapshotter erofs, whose layers are images."""
    folder = tmp_path / EROFS
    (folder / "snapshots/2").mkdir(parents=True)
    snapshots: Tree = {b"default/1/" + ONE.encode(): {b"kind": b"\x03", b"id": b"\x02"}}
    (folder / "metadata.db").write_bytes(database_of({b"v1": {b"snapshots": snapshots}}))
    found = Snapshots(Root(tmp_path))
    image = folder / "snapshots/2/layer.erofs"
    assert isinstance(found.locate(ONE, None), ErofsPlace)
    assert not found.has_tar(ONE)  # there is no image
    image.write_bytes(built.sound())
    assert not found.has_tar(ONE)
    tar = layer_tar({"a": b"content"})
    index = built.image({}, struct.pack("<64xII", 0, 16), features=8, devices=1, table=40)
    image.write_bytes(index + b"other")
    assert not found.has_tar(ONE)
    image.write_bytes(index + tar)
    assert found.has_tar(ONE)
    with closing(found.open_tar(ONE)) as blob:
        assert blob.pread(blob.size, 0) == tar
    (folder / "snapshots/2/layer.erofs.dmverity").write_bytes(b"{}")
    assert not found.has_tar(ONE)
    with pytest.raises(StoreError, match=r"layer\.erofs: no tar behind the image"):
        found.open_tar(ONE)
