"""`imgfs cache`: what is listed, and what is removed."""

import lzma
from pathlib import Path

import pytest

from tests.cli.terminal import in_terminal
from tests.cli.test_index import kept
from tests.conftest import Imgfs
from tests.images import TestImage, digest, docker_archive, layer_tar, oci_layout


@pytest.fixture
def layout(tmp_path: Path, images: list[TestImage]) -> Path:
    return oci_layout(tmp_path / "layout", images)


def test_what_is_kept_is_listed_by_layer_and_image(
    imgfs: Imgfs, layout: Path, images: list[TestImage]
) -> None:
    assert imgfs("cache", "ls").stdout == b"0 in 0 files\n"
    imgfs("index", layout)
    heading, *lines, total = imgfs("cache", "ls", layout).stdout.decode().splitlines()
    assert heading.split() == ["SIZE", "LAST", "USED", "KEPT", "ID", "IMAGE"]
    top = images[-1]
    (line,) = (line for line in lines if line.endswith("layer 4 of 4 of example/grandchild:1"))
    assert ["index", digest(top.layers[3])[7:19]] == line.split()[4:6]
    assert sum("  layer 1 of " in line and line.endswith(" and 2 more") for line in lines) == 1
    assert total.endswith(" in 5 files")
    assert all(
        line.endswith(("  -", "for imgfs locate"))
        for line in imgfs("cache", "ls").stdout.decode().splitlines()[1:-1]
    )


def test_of_compressed_archives_the_paths_are_listed(
    imgfs: Imgfs, tmp_path: Path, images: list[TestImage]
) -> None:
    path = tmp_path / "app.tar.xz"
    path.write_bytes(
        lzma.compress(docker_archive(tmp_path / "app.tar", images).read_bytes() + bytes(20 << 20))
    )
    imgfs("ls", path)
    lines = [line.split()[4:] for line in imgfs("cache", "ls").stdout.decode().splitlines()[1:-1]]
    assert sorted(lines) == [["copy", "archive", str(path)], ["index", "archive", str(path)]]


def test_names_of_files_are_there_on_request(imgfs: Imgfs, layout: Path, tmp_path: Path) -> None:
    imgfs("index", layout)
    lines = imgfs("cache", "ls", "--no-trunc").stdout.decode().splitlines()[1:-1]
    assert sorted(line.split()[-1] for line in lines) == sorted(
        path.name for path in (tmp_path / "cache").rglob("sha256-*")
    )


def test_parts_of_layers_in_registries_are_on_one_line(imgfs: Imgfs, layout: Path, tmp_path: Path) -> None:
    imgfs("index", layout)
    (folder,) = {path.parent for path in (tmp_path / "cache").rglob("*.index")}
    for number in range(3):
        (folder / f"sha256-{number:064}.span").write_bytes(bytes(1 << 20))
    lines = imgfs("cache", "ls").stdout.decode().splitlines()
    (line,) = (line for line in lines if "  span  " in line)
    assert line.strip().startswith("3")
    assert line.endswith("3 parts of layers in registries")
    assert lines[-1].endswith(" in 8 files")


def test_trees_are_listed_by_their_images(imgfs: Imgfs, tmp_path: Path) -> None:
    layers = [layer_tar({f"{layer}{number}": b"" for number in range(1500)}) for layer in ("a", "b")]
    layout = oci_layout(tmp_path / "layout", [TestImage(layers, ["big:1"])])
    imgfs("find", layout, "a1")
    listed = imgfs("cache", "ls", layout).stdout.decode().splitlines()
    assert sum("  tree  " in line and line.endswith("  big:1") for line in listed) == 1
    assert sum("  tree  " in line and "  layer " in line for line in listed) == 2


def test_listing_uses_nothing(imgfs: Imgfs, layout: Path, tmp_path: Path) -> None:
    imgfs("index", layout)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.index")}
    imgfs("cache", "ls", layout)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.index")} == before


def test_a_list_fits_the_terminal(imgfs: Imgfs, layout: Path) -> None:
    imgfs("index", layout)
    lines = in_terminal("cache", "ls", str(layout)).splitlines()
    assert len(lines) == 7
    assert max(map(len, lines)) <= 80


def test_the_cache_is_pruned_and_cleared(imgfs: Imgfs, tmp_path: Path, layout: Path) -> None:
    imgfs("index", layout)
    assert imgfs("cache", "prune").stdout == b"Removed 0 files, 0\n"
    assert imgfs("cache", "prune", "--cache-size", "17K").stdout.startswith(b"Removed ")
    assert 0 < len(kept(tmp_path)) < 5
    imgfs("cache", "clear")
    assert kept(tmp_path) == []


def test_clearing_a_cache_that_cannot_be_used_fails(imgfs: Imgfs, tmp_path: Path) -> None:
    cache = tmp_path / "cache/imgfs"
    if cache.exists():
        cache.rename(tmp_path / "elsewhere")
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("not a directory")
    assert imgfs("cache", "clear", status=1).stderr.count(b"\n") == 1
