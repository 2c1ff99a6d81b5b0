"""An index that one host has pushed to a registry is used by another host, which mounts the image."""

import json
import random
from pathlib import Path

import pytest

from tests.images import TestImage, layer_tar, oci_layout
from tests.registry.filling import insecure
from tests.registry.hosts import TestHost
from tests.registry.serving import docker_registry
from tests.tools import require_tool

LARGE = random.Random(3).randbytes(6 << 20)
FILES = {"etc/": None, "etc/name": b"x\n", "large": LARGE, "last": b"last\n"}
IMAGE = TestImage([layer_tar(FILES)], ["app:1"])


def test_an_index_pushed_by_one_host_serves_another_that_mounts(
    two_hosts: tuple[TestHost, TestHost], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = two_hosts
    top = tmp_path / "mnt"
    top.mkdir()
    layout = oci_layout(tmp_path / "layout", [IMAGE], "gzip")
    command = one.line(require_tool("docker-registry"))
    with docker_registry(one.folder / "registry", one.address, 5000, command) as address:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(tmp_path, address)))
        image = f"docker://{address}/app:1"
        one.imgfs("copy", f"oci:{layout}:app:1", image)
        one.imgfs("index", "--push", image)
        two.imgfs("mount", image, top)
        try:
            root = top / "images" / IMAGE.id.removeprefix("sha256:") / "rootfs"
            assert sorted(each.name for each in root.iterdir()) == ["etc", "large", "last"]
            assert (root / "last").read_bytes() == b"last\n"
            stats = json.loads((top / ".imgfs/stats").read_text())
        finally:
            two.imgfs("umount", top)
    assert 0 < stats["total"]["bytes"] < 3 << 20
