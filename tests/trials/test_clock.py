"""The machine's clock is set while stores are mounted."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Imgfs, eventually
from tests.images import TestImage, digest, docker_archive, layer_tar
from tests.tools import require_tool

YEAR = 365 * 86400


def _clock(file: Path, offset: int) -> dict[str, str]:
    """The environment of a process whose clock is off by as many seconds as `file` says, which may change."""
    file.write_text(f"{offset:+}")
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@pytest.mark.parametrize("jumps", [(-YEAR, 0), (YEAR, -YEAR)], ids=["back", "ahead"])
def test_changes_are_seen_and_layers_read_whatever_the_clock_does(
    tmp_path: Path, imgfs: Imgfs, jumps: tuple[int, int]
) -> None:
    require_tool("faketime")
    images = [TestImage([layer_tar({"data": os.urandom(200_000)})], [f"x:{number}"]) for number in range(3)]
    store, top, file = f"{tmp_path}/store", tmp_path / "mnt", tmp_path / "clock"
    top.mkdir()
    imgfs("load", "--store", store, docker_archive(tmp_path / "0.tar", images[:1]))
    command = [sys.executable, "-m", "imgfs", "mount", "-f", f"imgfs:{store}", str(top)]
    with subprocess.Popen(command, env=os.environ | _clock(file, 0), stderr=subprocess.PIPE) as daemon:
        try:
            assert eventually(lambda: os.path.ismount(top))
            for number, jump in enumerate(jumps, 1):
                file.write_text(f"{jump:+}")
                time.sleep(0.5)  # several polls
                imgfs("load", "--store", store, docker_archive(tmp_path / f"{number}.tar", [images[number]]))
                image = top / "tags/x" / f"{number}"
                assert eventually(image.exists)
                (tar,) = (image / "layers").glob("*.tar")
                assert digest(tar.read_bytes()) == digest(images[number].layers[0])
            assert {path.name for path in (top / "tags/x").iterdir()} == {"0", "1", "2"}
        finally:
            daemon.terminate()
            assert daemon.communicate(timeout=20)[1] == b""
