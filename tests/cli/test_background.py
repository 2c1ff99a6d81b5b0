"""Uncompressed layers of a real mount are verified in the background, once they were touched."""

import errno
import json
import os
from pathlib import Path

from tests.conftest import Imgfs, Mount, eventually
from tests.images import TestImage, digest, layer_tar, oci_layout
from tests.layers.test_stored_tar import flip


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
