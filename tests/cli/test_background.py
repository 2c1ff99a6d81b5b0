"""Uncompressed layers of a real mount are verified in the background, once they were touched."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import Imgfs, Mount, eventually
from tests.images import TestImage, digest, layer_tar, oci_layout
from tests.layers.test_blob_layer import flip


def verified(imgfs: Imgfs, layout: Path, image: TestImage) -> list[bool]:
    (found,) = json.loads(imgfs("inspect", "--source", f"oci:{layout}", image.id).stdout)
    return [layer["Verified"] for layer in found["Layers"]]


def made(folder: Path) -> tuple[Path, TestImage]:
    """An image of two uncompressed layers, one file each."""
    image = TestImage([layer_tar({"a": b"a" * 5000}), layer_tar({"b": b"b" * 5000})], ["x:1"])
    return oci_layout(folder / "layout", [image], "none"), image


def test_a_layer_that_was_touched_is_verified_soon_and_no_other(
    imgfs: Imgfs, mount: Mount, tmp_path: Path
) -> None:
    layout, image = made(tmp_path)
    assert verified(imgfs, layout, image) == [False, False]
    with mount(f"oci:{layout}") as top:
        folder = top / "images" / image.id[7:] / "layers"
        (name,) = [name for name in os.listdir(folder) if name.startswith("00") and name.endswith(".tar")]
        assert (folder / name).read_bytes() == image.layers[0]
        assert eventually(lambda: verified(imgfs, layout, image)[0], 30)
        assert verified(imgfs, layout, image) == [True, False]
        (index,) = (tmp_path / "cache").rglob("*.index")
        before = index.stat().st_ino
    with mount(f"oci:{layout}") as top:
        assert (folder / name).read_bytes() == image.layers[0]
        assert not eventually(lambda: index.stat().st_ino != before, 1.5), "it was verified before"


def test_a_layer_that_is_not_what_it_should_be_is_eio_from_then_on(mount: Mount, tmp_path: Path) -> None:
    layout, image = made(tmp_path)
    flip(layout / "blobs/sha256" / digest(image.layers[0])[7:], 600, 1)  # in the content of a
    with mount(f"oci:{layout}") as top:
        rootfs = top / "images" / image.id[7:] / "rootfs"
        assert (rootfs / "b").read_bytes() == b"b" * 5000

        def is_refused() -> bool:
            try:
                return (rootfs / "a").read_bytes() == b"a" * 5000
            except OSError as error:
                return error.errno == errno.EIO

        assert eventually(is_refused, 30)
        assert (rootfs / "b").read_bytes() == b"b" * 5000
        lines = [line for line in (tmp_path / "log").read_text().splitlines() if "failed to verify" in line]
        assert lines, "it is said"
        assert all(digest(image.layers[0]) in line for line in lines)


def enlarge(layout: Path, layer: bytes, size: int) -> None:
    """Let the one layer of a layout be followed by zeros; its digest is wrong then, as is found at its end."""
    blobs = layout / "blobs/sha256"
    os.truncate(blobs / digest(layer)[7:], size)
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    manifest["layers"][0]["size"] = size
    data = json.dumps(manifest).encode()
    (blobs / digest(data)[7:]).write_bytes(data)
    index["manifests"][0] |= {"digest": digest(data), "size": len(data)}
    (layout / "index.json").write_text(json.dumps(index))


def test_unmounting_stops_it(imgfs: Imgfs, tmp_path: Path) -> None:
    """In the middle of 100 GB, which take a minute to verify."""
    image = TestImage([layer_tar({"a": b"a" * 5000})], ["x:1"])
    layout, top = oci_layout(tmp_path / "layout", [image], "none"), tmp_path / "mnt"
    enlarge(layout, image.layers[0], 100 << 30)
    top.mkdir()
    process = subprocess.Popen([sys.executable, "-m", "imgfs", "mount", "-f", f"oci:{layout}", str(top)])
    assert eventually(lambda: os.path.ismount(top), 30)
    with open(top / "tags" / "x:1" / "rootfs.tar", "rb") as file:
        assert file.read(512) == image.layers[0][:512]

    def read() -> int:
        (line, *_) = Path(f"/proc/{process.pid}/io").read_text().splitlines()
        return int(line.removeprefix("rchar: "))

    assert eventually(lambda: read() > 300 << 20, 60), "it has begun"
    imgfs("umount", top)
    assert process.wait(10) == 0
