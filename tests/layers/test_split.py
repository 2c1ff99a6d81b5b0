"""Layers that are put together from a tar-split."""

import gzip
import os
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from imgfs.blob import FileBlob, Root
from imgfs.digest import ChainID, DiffID
from imgfs.errors import Corrupt
from imgfs.layers import SplitLayer, SplitPlace, Splits
from tests.images import layer_tar
from tests.splitting import file_line, literal, split_layer, tar_split
from tests.tools import require_tool


def _layer(folder: Path, tar: bytes, stored: bytes, splits: Splits, size: int | None = None) -> SplitLayer:
    folder.mkdir(exist_ok=True)
    (folder / "split").write_bytes(stored)
    diff_id = DiffID.of(tar)
    place = SplitPlace(Root(folder), "split", "", size)
    return SplitLayer(ChainID(diff_id), diff_id, None, lambda: place, splits)


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

    def refuse(splits: Splits, blob: FileBlob, name: str) -> NoReturn:
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


def test_a_sparse_file_that_engines_put_together_wrongly_is_corrupt(tmp_path: Path) -> None:
    """As Docker records GNU tar's pax sparse files: the file's size where the tar holds its parts alone."""
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1_000_000)
        file.write(b"begin")
    command = ("-S", "--format=posix", "-C", str(tmp_path), "-cf", str(tmp_path / "tar"), "sparse")
    subprocess.run([require_tool("tar"), *command], check=True)
    tar = (tmp_path / "tar").read_bytes()
    content = (tmp_path / "sparse").read_bytes()
    start = tar.index(b"begin")
    lines = [literal(tar[:start]), file_line("sparse", content), literal(tar[start + 512 :])]
    layer = _layer(tmp_path, tar, tar_split(lines), Splits())
    assert layer.look_for_size() is None
    for _ in range(2):
        with layer.open() as blob, pytest.raises(Corrupt, match="failed to verify"):
            blob.pread(512, 0)
    right = _layer(tmp_path, tar, tar_split([literal(tar)]), Splits())
    with right.open() as blob:
        assert blob.pread(len(tar), 0) == tar
