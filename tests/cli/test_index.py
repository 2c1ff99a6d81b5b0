"""`imgfs index`, and what `size=` means for programs that stat, list and copy."""

import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount
from tests.damage import flip
from tests.images import TestImage, layer_tar, oci_layout


@pytest.fixture
def layout(tmp_path: Path, images: list[TestImage]) -> Path:
    return oci_layout(tmp_path / "layout", images)


def kept(tmp_path: Path) -> list[str]:
    """The kinds of the files in the cache, sorted."""
    return sorted(path.suffix for path in (tmp_path / "cache").rglob("*.*"))


def stored(layout: Path, number: int) -> Path:
    """The blob of one of the layers of the image with the most of them."""
    manifests = [
        json.loads((layout / "blobs/sha256" / entry["digest"][7:]).read_text())
        for entry in json.loads((layout / "index.json").read_text())["manifests"]
    ]
    manifest = max(manifests, key=lambda document: len(document["layers"]))
    return Path(layout, "blobs/sha256", manifest["layers"][number]["digest"][7:])


def test_index_indexes_every_layer_once(imgfs: Imgfs, tmp_path: Path, layout: Path) -> None:
    imgfs("index", layout)
    assert kept(tmp_path) == [".index"] * 4 + [".locate"]
    inodes = {path.name: path.stat().st_ino for path in (tmp_path / "cache").rglob("*.index")}
    imgfs("index", layout)
    assert {path.name: path.stat().st_ino for path in (tmp_path / "cache").rglob("*.index")} == inodes


def test_index_of_one_image_takes_its_layers_alone(
    imgfs: Imgfs, tmp_path: Path, layout: Path, images: list[TestImage]
) -> None:
    imgfs("index", layout, images[0].id[7:19])
    assert kept(tmp_path) == [".index"] * 2 + [".locate"]
    assert b"No such image" in imgfs("index", layout, "0" * 12, status=1).stderr


def test_a_layer_that_cannot_be_indexed_is_named_and_the_others_are(
    imgfs: Imgfs, tmp_path: Path, layout: Path, images: list[TestImage]
) -> None:
    flip(stored(layout, 2))
    done = imgfs("index", layout, status=1)
    line, last = done.stderr.decode().splitlines()
    assert stored(layout, 2).name in line
    assert last == "imgfs: 3 layers indexed, 1 failed"
    assert kept(tmp_path) == [".index"] * 3 + [".locate"]


def test_the_cache_size_is_kept_to(imgfs: Imgfs, tmp_path: Path, layout: Path, mount: Mount) -> None:
    imgfs("index", "--cache-size", "13K", layout)
    files = list((tmp_path / "cache").rglob("*.*"))
    assert files
    assert sum(path.stat().st_blocks * 512 for path in files) <= 13 << 10
    imgfs("index", "--cache-size", "0", layout)
    assert kept(tmp_path) == []
    for size in ("lots", "1" * 5000):
        assert b"not a size" in imgfs("index", "--cache-size", size, layout, status=2).stderr


BIG = [layer_tar({f"layer-{n}/file-{m}": os.urandom(60_000) for m in range(20)}) for n in range(3)]


@pytest.fixture
def big(tmp_path: Path) -> tuple[TestImage, Path]:
    image = TestImage(BIG, ["example/big:1"])
    return image, oci_layout(tmp_path / "big", [image])


@pytest.mark.parametrize("option", ["size=exact", "size=lazy"])
def test_a_stat_waits_for_the_exact_size_or_says_nothing(
    mount: Mount, big: tuple[TestImage, Path], option: str
) -> None:
    image, layout = big
    with mount(layout, options=option) as top:
        path = top / "images" / image.id[7:] / "rootfs.tar"
        exact = option == "size=exact"
        assert path.stat().st_size == (len(image.verbatim) if exact else 0)
        listed = subprocess.run(["ls", "-l", path], capture_output=True, check=True, text=True).stdout.split()
        assert int(listed[4]) == (len(image.verbatim) if exact else 0)
        with path.open("rb") as file:
            assert len(file.read()) == len(image.verbatim)
        assert path.stat().st_size == len(image.verbatim), "it is known by now"


@pytest.mark.parametrize("option", ["size=exact", "size=lazy"])
@pytest.mark.parametrize("tool", ["tar", "cp", "python", "tarfile", "tar x"])
def test_the_first_program_to_read_it_gets_all_of_it(
    mount: Mount, tmp_path: Path, big: tuple[TestImage, Path], option: str, tool: str
) -> None:
    image, layout = big
    expected = [f"layer-{n}/file-{m}" for n in range(3) for m in range(20)]
    with mount(layout, options=f"{option},tar=verbatim" if tool in ("cp", "python") else option) as top:
        path = top / "images" / image.id[7:] / "rootfs.tar"
        match tool:
            case "tar":
                listed = subprocess.run(["tar", "tf", path], capture_output=True, check=True, text=True)
                assert listed.stdout.splitlines() == expected
            case "tar x":
                (tmp_path / "out").mkdir()
                subprocess.run(["tar", "xf", path, "-C", tmp_path / "out"], check=True)
                assert len(list((tmp_path / "out").rglob("file-*"))) == 60
            case "cp":
                subprocess.run(["cp", path, tmp_path / "copy"], check=True)
                assert (tmp_path / "copy").read_bytes() == image.verbatim
            case "python":
                if option == "size=exact":  # sendfile(2) ends where the kernel believes that the file does
                    shutil.copyfile(path, tmp_path / "copy")
                    assert (tmp_path / "copy").read_bytes() == image.verbatim
                assert path.read_bytes() == image.verbatim
            case "tarfile":
                with tarfile.open(path) as archive:
                    assert archive.getnames() == expected
    assert kept(tmp_path).count(".index") == 3, "and leaves the indexes behind, unmounted or not"


def test_a_read_is_whole_while_others_list_the_directory(mount: Mount, tmp_path: Path) -> None:
    """A listing tells the kernel of a file without a size; a program that reads it must get the real one."""
    layer = layer_tar({str(number): random.Random(number).randbytes(1 << 20) for number in range(64)})
    image = TestImage([layer], ["large:1"])
    layout = oci_layout(tmp_path / "layout", [image])
    with mount(layout) as top, ThreadPoolExecutor() as pool:
        folder = top / "images" / image.id[7:] / "layers"
        (path,) = (folder / name for name in os.listdir(folder) if name.endswith(".tar"))

        def read() -> bytes:
            file = os.open(path, os.O_RDONLY)
            try:
                return os.read(file, 1 << 20)
            finally:
                os.close(file)

        reading = pool.submit(read)
        time.sleep(0.05)
        os.listdir(folder)
        assert reading.result() == layer[: 1 << 20]


@pytest.mark.parametrize("option", ["size=exact", "size=lazy"])
def test_a_cache_that_cannot_be_written_means_slower_not_broken(
    mount: Mount, tmp_path: Path, big: tuple[TestImage, Path], option: str
) -> None:
    image, layout = big
    (tmp_path / "cache").write_bytes(b"in the way")
    with mount(layout, options=f"{option},tar=verbatim") as top:
        path = top / "images" / image.id[7:] / "rootfs.tar"
        assert path.read_bytes() == image.verbatim
        assert path.stat().st_size == len(image.verbatim)
        with path.open("rb") as file:
            file.seek(2_000_000)
            assert file.read(1000) == image.verbatim[2_000_000:2_001_000]
    assert (tmp_path / "log").read_text().count("working without what it cannot keep") == 1


def test_two_processes_index_the_same_layers_at_once(
    environment: None, imgfs: Imgfs, tmp_path: Path, big: tuple[TestImage, Path]
) -> None:
    command = [sys.executable, "-m", "imgfs", "index", str(big[1])]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert kept(tmp_path).count(".index") == 3
    imgfs("index", big[1])
