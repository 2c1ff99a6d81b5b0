"""Two hosts and a registry: one pushes the index of an image, the other mounts the image and reads it by that index.

Each host is a network namespace with a cache of its own; the registry runs on the first.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import eventually
from tests.images import TestImage, layer_tar
from tests.registry.filling import insecure, put_images
from tests.registry.serving import docker_registry
from tests.tools import require_root, require_tool

NOISE = random.Random(3)
TREE = {f"usr/lib/{number}": NOISE.randbytes(400_000).hex().encode() for number in range(20)}
FILES = {**TREE, "etc/name": b"a small file\n"}
IMAGE = TestImage([layer_tar(FILES), layer_tar({"app/run": b"run\n"})], ["app:1"])
PORT = 5000
ADDRESS = f"192.0.2.1:{PORT}"
REFERENCE = f"docker://{ADDRESS}/app:1"


@dataclass(frozen=True)
class Host:
    """A network namespace, which lives as long as the process `pid`, and a folder for the caches of the host."""

    pid: int
    folder: Path

    def command(self, *arguments: object) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *map(str, arguments)]

    def run(self, *arguments: object) -> bytes:
        done = subprocess.run(self.command(*arguments), capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def imgfs(self, *arguments: object) -> bytes:
        caches = f"XDG_CACHE_HOME={self.folder}/cache", f"XDG_DATA_HOME={self.folder}/data"
        settings = (*caches, f"CONTAINERS_REGISTRIES_CONF={self.folder}/registries.conf")
        return self.run("env", *settings, sys.executable, "-m", "imgfs", *arguments)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    """Two hosts with a wire between them: 192.0.2.1 and 192.0.2.2."""
    require_root()
    ends_with_us = ("setpriv", "--pdeathsig", "KILL")
    command = [*ends_with_us, "unshare", "--net", "sh", "-c", "echo; exec sleep 600"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        made = []
        for number, process in enumerate(processes, 1):
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            folder = tmp_path / f"host{number}"
            folder.mkdir()
            insecure(folder, ADDRESS)
            made.append(Host(process.pid, folder))
        first, second = made
        first.run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", second.pid)
        for number, host in enumerate(made, 1):
            host.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "wire")
            host.run("ip", "link", "set", "wire", "up")
            host.run("ip", "link", "set", "lo", "up")
        yield first, second
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.fixture
def registry(hosts: tuple[Host, Host], tmp_path: Path) -> Iterator[None]:
    """A registry on the first host, which both reach as `ADDRESS`, with the image."""
    first, _ = hosts
    folder = tmp_path / "registry"
    with docker_registry(folder) as here:  # as its files are all that it has, it can be filled here
        put_images(here, tmp_path / "layout", [IMAGE])
    config = json.loads((folder / "config.yml").read_text())
    config["http"]["addr"] = f"0.0.0.0:{PORT}"
    (folder / "config.yml").write_text(json.dumps(config))
    program = first.command(require_tool("docker-registry"), "serve", folder / "config.yml")
    with (folder / "log").open("ab") as log:
        serving = subprocess.Popen(program, stdout=log, stderr=log)
    try:
        knock = first.command("bash", "-c", f"exec 2>/dev/null; : </dev/tcp/127.0.0.1/{PORT}")
        assert eventually(lambda: subprocess.run(knock, check=False).returncode == 0)
        yield
    finally:
        serving.kill()
        serving.wait()


def _layer_bytes(top: Path) -> int:
    """The bytes of layers that a mount has fetched."""
    blobs: dict[str, Any] = json.loads((top / ".imgfs/stats").read_bytes())["blobs"]
    manifest = json.loads((top / "images" / IMAGE.id[7:] / "manifest.json").read_bytes())
    layers = [layer["digest"] for layer in manifest["layers"]]
    return sum(blobs[layer].get("bytes", 0) for layer in layers if layer in blobs)


def test_what_one_host_has_indexed_another_lists_and_reads_without_the_layers(
    hosts: tuple[Host, Host], registry: None, tmp_path: Path
) -> None:
    first, second = hosts
    first.imgfs("index", "--push", REFERENCE)
    top = tmp_path / "mnt"
    top.mkdir()
    second.imgfs("mount", "--log-file", tmp_path / "log", REFERENCE, top)
    try:
        rootfs = top / "images" / IMAGE.id[7:] / "rootfs"
        listed = subprocess.run(["find", rootfs, "-type", "f"], check=True, capture_output=True).stdout
        assert {os.path.relpath(path, rootfs) for path in listed.decode().split()} == {*FILES, "app/run"}
        assert _layer_bytes(top) == 0
        assert (
            subprocess.run(["cat", rootfs / "etc/name"], check=True, capture_output=True).stdout
            == (FILES["etc/name"])
        )
        assert _layer_bytes(top) > 0
        assert json.loads((top / ".imgfs/stats").read_bytes())["total"]["bytes"] < 2_000_000
    finally:
        second.imgfs("umount", top)
    assert not os.path.ismount(top)
    assert not (tmp_path / "log").exists() or "Traceback" not in (tmp_path / "log").read_text()
