"""Bare paths, and what they are taken for."""

import gc
import gzip
import os
from pathlib import Path

import pytest

from imgfs.errors import ImgfsError, StoreError
from imgfs.sources import open_source
from imgfs.sources.own.layout import Layout
from tests.conftest import Imgfs
from tests.images import TestImage, docker_archive, new_docker_archive, oci_layout
from tests.indexing import indexing


def _reference(tmp_path: Path, path: Path) -> str:
    with indexing(tmp_path) as indexer:
        source = open_source(str(path), indexer)
        source.close()
        return source.reference


def test_a_bare_path_is_what_lies_there(tmp_path: Path, images: list[TestImage]) -> None:
    Layout(str(tmp_path / "store")).create()
    for path, scheme in (
        (docker_archive(tmp_path / "old.tar", images), "docker-archive"),
        (new_docker_archive(tmp_path / "new.tar", images), "docker-archive"),
        (oci_layout(tmp_path / "layout", images), "oci"),
        (tmp_path / "store", "imgfs"),
    ):
        assert _reference(tmp_path, path) == f"{scheme}:{path}"


@pytest.mark.parametrize("content", [b"hello\n", b"", bytes(10_240), b"\x1f\x8b junk", b"x" * 4096])
@pytest.mark.parametrize("scheme", ["", "docker-archive:", "oci-archive:"])
def test_what_is_no_archive_is_refused_by_its_name(tmp_path: Path, content: bytes, scheme: str) -> None:
    path = tmp_path / "junk"
    path.write_bytes(content)
    with indexing(tmp_path) as indexer:
        gc.collect()  # what earlier tests left open
        open_files = os.listdir("/proc/self/fd")
        with pytest.raises((ImgfsError, FileNotFoundError)) as caught:
            open_source(f"{scheme}{path}", indexer)
        assert str(caught.value).count(str(path)) == 1
        assert "\n" not in str(caught.value)
        assert os.listdir("/proc/self/fd") == open_files


def test_a_path_where_nothing_known_lies_is_refused_by_its_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, problem in (
        ("pipe", "not an archive of images: not a regular file"),
        ("folder", "neither an image layout nor a store"),
        ("absent", "No such file or directory"),
    ):
        with pytest.raises(StoreError, match=f"^{tmp_path / name}: {problem}"):
            _reference(tmp_path, tmp_path / name)


def test_a_compressed_archive_is_what_is_in_it(tmp_path: Path, images: list[TestImage]) -> None:
    path = tmp_path / "family"
    for make in (docker_archive, new_docker_archive):
        path.write_bytes(gzip.compress(make(tmp_path / "family.tar", images).read_bytes(), 1))
        assert _reference(tmp_path, path) == f"docker-archive:{path}"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"LZIP\x01\x0c" * 100, "lzip-compressed; imgfs reads gzip, zstd, xz, bzip2"),
        (b"PK\x03\x04" * 100, "a zip archive; imgfs reads tars, plain or as gzip, zstd, xz, bzip2"),
        (
            gzip.compress(b"{}", mtime=0),
            "gzip-compressed, and in that JSON; imgfs reads tars, plain or as gzip",
        ),
        (b"", "an empty file"),
    ],
)
def test_what_is_in_no_known_form_is_named_in_words(
    imgfs: Imgfs, tmp_path: Path, content: bytes, why: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    for command in ("ls", "load", "verify"):
        (line,) = imgfs(command, path, status=None).stderr.decode().splitlines()
        assert line.startswith(f"imgfs: {path}: not an archive of images: {why}")


def test_who_gives_a_whole_disk_is_told_where_its_images_lie(tmp_path: Path, images: list[TestImage]) -> None:
    place = tmp_path / "disk/var/lib/containerd"
    (place / "io.containerd.content.v1.content/blobs/sha256").mkdir(parents=True)
    with pytest.raises(StoreError, match=f"but {place} is one"):
        _reference(tmp_path, tmp_path / "disk")


def test_what_came_by_standard_input_is_called_so(imgfs: Imgfs) -> None:
    stderr = imgfs("load", status=1, stdin=b"hello\n").stderr
    assert stderr.count(b"\n") == 1
    assert b"standard-input-" in stderr
