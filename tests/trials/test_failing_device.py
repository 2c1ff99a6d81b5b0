"""The device under a store fails while the store is mounted."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Mount
from tests.images import TestImage, digest, layer_tar, oci_layout
from tests.trials.failing import failing_device

SIZE = 3_000_000


def _image(name: str) -> TestImage:
    return TestImage([layer_tar({"data": os.urandom(SIZE)})], [name])


def _largest_blob(layout: Path) -> str:
    return max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size).name


def _errno(work: Callable[[], object]) -> int | None:
    try:
        work()
    except OSError as error:
        return error.errno
    return None


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_failing_device_is_eio_for_what_lies_there_and_only_as_long_as_it_fails(
    tmp_path: Path, mount: Mount, compression: str
) -> None:
    good, bad = _image("good:1"), _image("bad:1")
    layout = oci_layout(tmp_path / "layout", [good, bad], compression)
    device, switch = tmp_path / "device", tmp_path / "switch"
    device.mkdir()
    switch.write_text(_largest_blob(oci_layout(tmp_path / "bad", [bad], compression)))
    with failing_device(layout, device, switch), mount(f"oci:{device}") as top:

        def read(image: TestImage) -> str:
            (tar,) = (top / "images" / image.id[7:] / "layers").glob("*.tar")
            return digest(tar.read_bytes())

        for _ in range(2):
            assert _errno(lambda: read(bad)) == errno.EIO
        assert read(good) == digest(good.layers[0])
        assert os.listdir(top / "tags")
        log = (tmp_path / "log").read_text()
        assert "Input/output error" in log
        assert len(log.splitlines()) < 6
        switch.unlink()
        assert read(bad) == digest(bad.layers[0])
