"""Containers of Podman that root gives a user namespace of their own.

Their lower layers are mapped while they are mounted, or copied; what they change has mapped owners on disk.
"""

import os
import tempfile
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount
from tests.engines.engine import podman
from tests.engines.test_rootless import IMAGE, LAYERS, owners
from tests.images import docker_archive
from tests.tree.stacks import merged, real_facts, tree_facts

FIRST = 100_000


@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_owners_are_those_that_the_container_sees(
    imgfs: Imgfs, mount: Mount, suite: str, driver: str
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="imgfs-") as folder,
        podman(Path(folder), driver, suite) as engine,
    ):
        engine.load(docker_archive(Path(folder) / "image.tar", [IMAGE]))
        mapped = f"--uidmap=0:{FIRST}:65536"
        for name in ("same", "changed"):
            engine.command("create", "--network=none", mapped, f"--name={name}", IMAGE.tags[0], "/x")
        seen = engine.inside.seen(Path(engine.command("mount", "changed")))
        os.chown(seen / "private", FIRST + 9, FIRST + 65535)
        os.chown(seen / "mine", 9, 9)
        with mount(engine.source) as top:
            found = owners(real_facts(top / "containers/by-name/changed/rootfs"))
        engine.command("umount", "--force", "changed")
        image = {path: fact[1:3] for path, fact in tree_facts(merged(LAYERS), LAYERS).items()}
        assert found == image | {b"private": (9, 65535), b"mine": (65534, 65534)}
        assert imgfs("drift", "--source", engine.source, "same").stdout == b""
        drift = imgfs("drift", "--source", engine.source, "changed").stdout.split()
        assert drift == [b"C", b"/mine", b"C", b"/private"]
