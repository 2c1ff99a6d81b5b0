"""Layers that are put together from a tar-split."""

import gzip
import os
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from imgfs.blob import FileBlob, MemoryBlob, Root
from imgfs.digest import ChainID, DiffID
from imgfs.errors import Corrupt, StoreError
from imgfs.layers import LayerChoice, SplitLayer, SplitPlace, Splits
from imgfs.tar import scan_blob
from tests.images import layer_tar
from tests.splitting import engines_split, file_line, literal, split_layer, tar_split
from tests.store.stores import PlainLayer
from tests.tar.archives import ENDING, content, header, padded, tree
from tests.tools import require_tool


def _layer(folder: Path, tar: bytes, stored: bytes, splits: Splits, size: int | None = None) -> SplitLayer:
    folder.mkdir(exist_ok=True)
    (folder / "split").write_bytes(stored)
    diff_id = DiffID.of(tar)
    place = SplitPlace(Root(folder), "split", "", size)
    return SplitLayer(ChainID(diff_id), diff_id, None, lambda _: place, splits)


def _made(folder: Path, number: int, splits: Splits) -> tuple[SplitLayer, bytes]:
    tar = layer_tar({f"{number}-{name}": b"%d" % name * 100 for name in range(50)})
    return _layer(folder / str(number), tar, split_layer(tar, folder / str(number)), splits), tar


def test_layers_are_right_however_few_tar_splits_stay_in_memory(tmp_path: Path) -> None:
    splits = Splits(limit=10_000)
    layers = [_made(tmp_path, number, splits) for number in range(12)]
    for _ in range(2):
        for layer, tar in layers:
            with layer.open() as blob:
                assert blob.pread(len(tar), 0) == tar
                assert len(layer.members()) == 50


def test_a_tar_split_is_parsed_once_for_all(tmp_path: Path) -> None:
    splits = Splits()
    _made(tmp_path, 1, splits)
    first = splits.load(FileBlob(tmp_path / "1/split"), "layer")
    assert splits.load(FileBlob(tmp_path / "1/split"), "layer") is first
    os.utime(tmp_path / "1/split", ns=(0, 0))
    assert splits.load(FileBlob(tmp_path / "1/split"), "layer") is not first


def test_a_recorded_size_that_is_wrong_is_corrupt(tmp_path: Path) -> None:
    tar = layer_tar({"a": b"a"})
    layer = _layer(tmp_path / "a", tar, split_layer(tar, tmp_path / "a"), Splits(), len(tar) + 1)
    assert layer.look_for_size() == layer.known_size == len(tar) + 1
    with layer.open() as blob, pytest.raises(Corrupt, match=f"has {len(tar)} bytes where {len(tar) + 1}"):
        blob.pread(1, 0)


def test_a_size_that_takes_long_to_learn_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small as stored, but not as text; or broken, which is found out once."""
    tar = layer_tar({"a": b"a"})
    parsed: list[str] = []

    def refuse(splits: Splits, blob: FileBlob, name: str, read_names: object) -> NoReturn:
        blob.close()
        parsed.append(name)
        raise Corrupt("nonsense")

    monkeypatch.setattr(Splits, "load", refuse)
    long = _layer(tmp_path / "long", tar, gzip.compress(b'{"type":2}\n' * 1_000_000), Splits())
    broken = _layer(tmp_path / "broken", tar, gzip.compress(b"nonsense"), Splits())
    for _ in range(3):
        assert long.look_for_size() is None
        assert broken.look_for_size() is None
    assert parsed == [f"layer {broken.diff_id}"]


def test_an_open_tar_needs_its_tar_split_no_more(tmp_path: Path) -> None:
    layer, tar = _made(tmp_path, 1, Splits())
    with layer.open() as blob:
        (tmp_path / "1/split").unlink()
        assert blob.pread(len(tar), 0) == tar


SPARSE = {
    "pax 0.0": ["tar", "--format=pax", "--sparse", "--sparse-version=0.0"],
    "pax 0.1": ["tar", "--format=pax", "--sparse", "--sparse-version=0.1"],
    "pax 1.0": ["tar", "--format=pax", "--sparse", "--sparse-version=1.0"],
    "bsdtar": ["bsdtar", "--format=pax"],
}


@pytest.mark.parametrize("writer", SPARSE)
def test_sparse_files_that_engines_put_together_wrongly_are_read_in_place(
    tmp_path: Path, writer: str
) -> None:
    """Docker takes such a layer, and cannot save it: its tar is lost, its files are there."""
    require_tool(SPARSE[writer][0])
    files = tree(tmp_path / "files")
    subprocess.run([*SPARSE[writer], "-cf", tmp_path / "tar", "-C", files, "."], check=True)
    tar = (tmp_path / "tar").read_bytes()
    layer = _layer(files, tar, engines_split(tar), Splits())
    assert layer.look_for_size() is None
    expected = list(scan_blob(MemoryBlob(tar)))
    assert any(member.sparse for member in expected)
    copy = layer.tree().copies[0]
    with layer.open_content(copy) as blob:
        for ours, theirs in zip(layer.members(), expected, strict=True):
            assert (ours.name, ours.type, ours.size) == (theirs.name, theirs.type, theirs.size)
            assert ours.sparse is None
            assert ours.is_adjusted == (theirs.sparse is not None)
            if theirs.is_file:
                assert blob.pread(ours.stored_size, ours.data_offset) == content(tar, theirs)
                assert blob.try_pread(ours.stored_size, ours.data_offset) in (content(tar, theirs), None)
    with layer.open() as blob, layer.open_content() as content_of_tar:
        for _ in range(2):
            with pytest.raises(Corrupt, match="failed to verify"):
                blob.pread(512, 0)
            with pytest.raises(Corrupt, match="failed to verify"):
                content_of_tar.pread(512, 0)
    other = PlainLayer(layer.chain_id, layer.diff_id, None, tar, len(tar))
    choice = LayerChoice(layer, lambda: [other])
    with choice.open_content(copy) as blob, choice.open_content() as content_of_tar:
        assert blob.pread(512, 0) == tar[:512]
        assert content_of_tar.pread(len(tar), 0) == tar, "of the other copy"
    os.utime(files / "split", ns=(0, 0))
    for of in (layer, choice):
        with pytest.raises(StoreError, match="the copy of it that its files were found in is not there"):
            of.open_content(copy)


def test_what_only_looks_like_a_sparse_file_is_read_in_full(tmp_path: Path) -> None:
    tar = layer_tar({"GNU.sparse.name": b"x" * 600, "other": b"y"})
    layer = _layer(tmp_path, tar, split_layer(tar, tmp_path), Splits())
    assert [member.name for member in layer.members()] == [b"GNU.sparse.name", b"other"]
    with layer.open() as blob:
        assert blob.pread(len(tar), 0) == tar


def test_a_file_that_is_not_as_long_as_its_header_says_ends_the_members(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tar = layer_tar({"GNU.sparse.x": b"", "a": b"x" * 600, "b": b"y"})
    lines = [literal(tar[:1024]), file_line("a", b"short"), literal(tar[2048:])]
    layer = _layer(tmp_path, tar, tar_split(lines), Splits())
    assert [member.name for member in layer.members()] == [b"GNU.sparse.x"]
    assert "has 5 bytes where its header says 600" in caplog.text


def test_data_that_a_link_says_it_has_is_not_there(tmp_path: Path) -> None:
    """The engines' library has an entry for it all the same, which no file has the checksum of."""
    link = header(b"link", kind=b"1", linkname=b"GNU.sparse.x", size=700)
    tar = header(b"GNU.sparse.x", size=1) + padded(b"x") + link + header(b"b", size=1) + padded(b"y") + ENDING
    lines = [literal(tar[:512]), file_line("GNU.sparse.x", b"x"), literal(tar[513:1536])]
    lines += [
        file_line("link", b"z" * 700),
        literal(tar[1536:2048]),
        file_line("b", b"y"),
        literal(tar[2049:]),
    ]
    layer = _layer(tmp_path, tar, tar_split(lines), Splits())
    (tmp_path / "b").write_bytes(b"y")
    _, found, last = layer.members()
    assert (found.name, found.stored_size) == (b"link", 0)
    with layer.open_content(layer.tree().copies[0]) as blob:
        assert blob.pread(1, last.data_offset) == b"y"
