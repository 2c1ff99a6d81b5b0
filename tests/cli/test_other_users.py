"""Stores of other users, which may name any digest: what is remembered of other stores is not for them."""

import gzip
import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.images import TestImage, docker_archive, layer_tar, oci_layout
from tests.tools import require_root

OTHER = 65534
SECRETS = {f"secret-{number}": b"the secret " * number for number in range(1500)}
PRIVATE = TestImage([layer_tar({"below": b""}), layer_tar({"first": b""} | SECRETS)], ["private:1"])
WAYS = [
    ("find", "private:1", "secret-*"),
    ("locate", "secret-*"),
    ("export", "private:1"),
    ("export", "--tar", "flat", "private:1"),
]


def _shown(imgfs: Imgfs, layout: Path) -> list[bool]:
    """Which of the ways shows a secret in a layout."""
    return [b"secret-7" in imgfs(*way, "--source", f"oci:{layout}", status=None).stdout for way in WAYS]


def _kept(imgfs: Imgfs) -> set[bytes]:
    """The names of the files in the cache."""
    return {name for name in imgfs("cache", "ls", "--no-trunc").stdout.split() if b"sha256" in name}


def _of_other(layout: Path) -> Path:
    for path in [layout, *layout.rglob("*")]:
        os.chown(path, OTHER, OTHER)
    return layout


def _forge(layout: Path, path: Path) -> Path:
    """What one makes who knows the digests and sizes of a layout and no more: the bytes of its layers are others."""
    shutil.copytree(layout, path)
    for blob in (path / "blobs/sha256").iterdir():
        data = blob.read_bytes()
        if not data.startswith(b"{"):
            start = layer_tar({"first": b""}) if data.startswith((b"first", b"below")) else data[:16]
            blob.write_bytes(start[: len(data)].ljust(len(data), b"\0"))
    return path


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_store_of_another_user_shows_nothing_of_layers_that_it_only_names(
    imgfs: Imgfs, tmp_path: Path, compression: str
) -> None:
    require_root()
    private = oci_layout(tmp_path / "private", [PRIVATE], compression)
    imgfs("index", f"oci:{private}")
    assert _shown(imgfs, private) == [True] * len(WAYS)
    forged = _of_other(_forge(private, tmp_path / "forged"))
    assert _shown(imgfs, forged) == [False] * len(WAYS)


def test_a_store_of_another_user_has_a_part_of_the_cache_of_its_own(imgfs: Imgfs, tmp_path: Path) -> None:
    require_root()
    layout = _of_other(oci_layout(tmp_path / "layout", [PRIVATE]))
    imgfs("index", f"oci:{layout}")
    assert _shown(imgfs, layout) == [True] * len(WAYS)
    # which images there are is kept by the name of the store, so no other finds it
    kept = {name for name in _kept(imgfs) if not name.endswith(b".machine")}
    assert kept
    assert kept == {name for name in kept if b".of65534." in name}
    imgfs("cache", "clear")
    assert imgfs("cache", "ls").stdout == b"0 in 0 files\n"


def test_a_compressed_archive_of_another_user_has_a_part_of_the_cache_of_its_own(
    imgfs: Imgfs, tmp_path: Path
) -> None:
    require_root()
    archive = tmp_path / "app.tar.gz"
    archive.write_bytes(gzip.compress(docker_archive(tmp_path / "app.tar", [PRIVATE]).read_bytes(), 1))
    imgfs("ls", archive)
    before = _kept(imgfs)
    os.chown(archive, OTHER, OTHER)
    imgfs("ls", archive)
    kept = _kept(imgfs) - before
    assert kept
    assert kept == {name for name in kept if b".of65534." in name}
