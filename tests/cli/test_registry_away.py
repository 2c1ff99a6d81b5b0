"""Mounts of images in a registry that is killed, comes back, or does not, while the images are read."""

import hashlib
import json
import os
import random
import select
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_registry import hastily_mounted
from tests.conftest import Imgfs, Mount
from tests.images import TestImage, layer_tar
from tests.registry.filling import insecure, put_images
from tests.registry.serving import docker_registry, free_port

NOISE = random.Random(5)
LOWER, UPPER = ({f"{name}/{number}": NOISE.randbytes(1_500_000) for number in range(3)} for name in "ab")
IMAGE = TestImage([layer_tar(LOWER), layer_tar(UPPER)], ["app:1"])
CONTENT = b"".join([*LOWER.values(), *UPPER.values()])  # in the order of rootfs.tar


class Registry:
    """A registry with the image and its index, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"
        self.reference = f"docker://{self.address}/app:1"
        self._running = ExitStack()

    def start(self) -> None:
        self._running.enter_context(docker_registry(self._folder, port=self._port))

    def kill(self) -> None:
        self._running.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    made = Registry(folder)
    made.start()
    put_images(made.address, folder / "images", [IMAGE])
    insecure(folder, made.address)
    yield made
    made.kill()


@pytest.fixture
def registry(filled: Registry, imgfs: Imgfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry, running, with the index of the image."""
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(tmp_path, filled.address)))
    filled.kill()
    filled.start()
    imgfs("index", "--push", filled.reference)
    imgfs("cache", "clear")
    return filled


def _stats(top: Path) -> Any:
    return json.loads((top / ".imgfs/stats").read_bytes())


def _extract(top: Path) -> subprocess.Popen[bytes]:
    """A tar that writes the contents of all files to a pipe, and has begun."""
    tar = ["tar", "xOf", str(top / "images" / IMAGE.id[7:] / "rootfs.tar")]
    started = subprocess.Popen(tar, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert started.stdout is not None
    assert select.select([started.stdout], [], [], 30)[0]
    return started


def test_tar_gets_the_right_bytes_of_a_registry_that_is_killed_and_comes_back(
    registry: Registry, mount: Mount
) -> None:
    with mount(registry.reference) as top:
        tar = _extract(top)
        registry.kill()
        with pytest.raises(subprocess.TimeoutExpired):
            tar.communicate(timeout=0.5)
        registry.start()
        content, errors = tar.communicate(timeout=30)
        assert (tar.returncode, errors) == (0, b"")
        assert hashlib.sha256(content).digest() == hashlib.sha256(CONTENT).digest()
        assert _stats(top)["total"]["retries"] > 0


def test_tar_gets_an_error_of_a_registry_that_does_not_come_back(registry: Registry, tmp_path: Path) -> None:
    top = tmp_path / "mnt"
    top.mkdir()
    with hastily_mounted(registry.reference, top) as log:
        tar = _extract(top)
        registry.kill()
        content, errors = tar.communicate(timeout=30)
        assert tar.returncode == 2
        assert b"Input/output error" in errors
        assert CONTENT.startswith(content) and content != CONTENT
    # the kernel may read again for tar what it has not got for itself, reading ahead
    (line,) = {line for line in log.read_text().splitlines() if "blob sha256:" in line}
    assert f"docker://{registry.address}/app: blob sha256:" in line
    assert line.endswith("Connection refused")


def test_what_was_read_is_there_without_the_registry(
    registry: Registry, mount: Mount, tmp_path: Path
) -> None:
    rootfs = Path("images") / IMAGE.id[7:] / "rootfs"
    for count in range(2):
        with mount(registry.reference) as top:
            assert (top / rootfs / "a/0").read_bytes() == LOWER["a/0"]
            asked = {name: blob.get("requests", 0) for name, blob in _stats(top)["blobs"].items()}
            assert any(asked.values()) == (count == 0), asked
    registry.kill()
    with mount(registry.reference, options="offline") as top:
        names = {f"{parent}/{name}" for parent in "ab" for name in os.listdir(top / rootfs / parent)}
        assert names == {*LOWER, *UPPER}
        assert (top / rootfs / "a/0").read_bytes() == LOWER["a/0"]
        with pytest.raises(OSError, match="Input/output error"):
            (top / rootfs / "b/2").read_bytes()
    (line,) = [line for line in (tmp_path / "log").read_text().splitlines() if "blob sha256:" in line]
    assert f"docker://{registry.address}/app: blob sha256:" in line
    assert line.endswith("it is not in the cache, and nothing else is looked into (--offline)")
