"""A mount for which there is not enough memory."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.codec.encoders import texture
from tests.conftest import eventually
from tests.images import TestImage, layer_tar, oci_layout

SMALL = layer_tar({"small": texture("words", 3_000_000, 1)})
LARGE = layer_tar({"large": texture("noise", 9_000_000, 1) + texture("words", 9_000_000, 2)})
"""Larger than what is decoded without a process of its own, which cannot do with so little."""


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("megabytes", [400, 120, 60])
def test_what_is_read_is_right_or_eio_and_the_mount_lives(
    tmp_path: Path, megabytes: int, compression: str
) -> None:
    images = [TestImage(layers, [f"x:{len(layers)}"]) for layers in ([SMALL], [LARGE, SMALL])]
    layout = oci_layout(tmp_path / "layout", images, compression)
    top = tmp_path / "top"
    top.mkdir()
    command = [sys.executable, "-m", "imgfs", "mount", "-f", f"oci:{layout}", str(top)]
    limited = ["prlimit", f"--as={megabytes << 20}", *command]
    with subprocess.Popen(limited, stderr=subprocess.PIPE) as daemon:
        try:
            assert eventually(lambda: os.path.ismount(top) or daemon.poll() is not None)
            assert daemon.poll() is None
            read = [_rootfs(top, image) for image in images]
            assert daemon.poll() is None
        finally:
            daemon.terminate()
            log = daemon.communicate(timeout=20)[1].decode()
    assert daemon.returncode == 0
    assert "internal error" not in log
    assert "Traceback" not in log
    if megabytes > 100:
        assert (read, log) == ([image.verbatim for image in images], "")
    for got, image in zip(read, images, strict=True):
        assert got is None or got == image.verbatim
    assert (None in read) == ("memory" in log)


def _rootfs(top: Path, image: TestImage) -> bytes | None:
    """An image's layers end to end, None if reading them is EIO."""
    try:
        folder = top / "images" / image.id.removeprefix("sha256:") / "layers"
        names = sorted(name for name in os.listdir(folder) if name.endswith(".tar"))
        return b"".join((folder / name).read_bytes() for name in names)
    except OSError as error:
        assert error.errno == errno.EIO
        return None
