"""What a mount shows as layouts and archives, taken by engines as it is: the images are the same."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import Mount
from tests.engines.conftest import Engines
from tests.engines.containerd import containerd
from tests.engines.machine import HOST, machine
from tests.images import TestImage, docker_archive, layer_tar, oci_layout

IMAGES = [
    TestImage([BELOW := layer_tar({"bin/": None, "bin/tool": b"tool" * 50_000})], ["shown/base:1"]),
    TestImage([BELOW, layer_tar({"etc/": None, "etc/new": b"new"})], ["shown/child:2", "shown/child:latest"]),
]
"""Two images that share a layer."""

_IMPLIED = re.compile("^(docker.io|localhost)/")


def sources(folder: Path) -> dict[str, str]:
    """The images, stored in several ways."""
    gzipped = oci_layout(folder / "gzip", IMAGES)
    return {
        "made": f"docker-archive:{docker_archive(folder / 'a.tar', IMAGES)}",
        "gzip": f"oci:{gzipped}",
        "zstd": f"oci:{oci_layout(folder / 'zstd', IMAGES, 'zstd')}",
    }


@pytest.fixture
def archives(mount: Mount, tmp_path: Path) -> dict[str, list[Path]]:
    """The docker.tar of each image of each source, copied, as a machine of an engine has other mounts."""
    found = {}
    for kind, source in sources(tmp_path).items():
        with mount(source) as top:
            found[kind] = [
                Path(shutil.copyfile(top / f"images/{image.id.hex}/docker.tar", tmp_path / f"{kind}-{n}.tar"))
                for n, image in enumerate(IMAGES)
            ]
    return found


@pytest.mark.parametrize("kind", ["docker-overlay2", "podman-overlay"])
def test_engines_load_archives(
    engines: Engines, archives: dict[str, list[Path]], kind: str, suite: str
) -> None:
    engine = engines[kind].engine
    for how, paths in archives.items():
        if how == "zstd" and kind.startswith("docker") and suite == HOST:
            continue  # Docker learned of zstd in version 23
        for path, image in zip(paths, IMAGES, strict=True):
            engine.load(path)
            # podman puts what it takes to be implied before names
            found = {_IMPLIED.sub("", tag): image_id for tag, image_id in engine.tags().items()}
            loaded = {tag: image_id for tag, image_id in found.items() if tag.startswith("shown/")}
            assert loaded == dict.fromkeys(image.tags, image.id.hex), how
            engine.command("rmi", "-f", image.id.hex)


def test_containerd_imports_archives(archives: dict[str, list[Path]], suite: str, short_folder: Path) -> None:
    with machine(suite) as inside, containerd(inside, short_folder, short_folder / "root") as running:
        for paths in archives.values():
            for path, image in zip(paths, IMAGES, strict=True):
                running.ctr("images", "import", path)
                for tag in image.tags:
                    assert f"docker.io/{tag}" in running.ctr("images", "ls", "-q")
                digest = running.ctr("images", "ls", f"name==docker.io/{image.tags[0]}").split()
                name = next(word for word in digest if word.startswith("sha256:"))
                manifest = json.loads(running.ctr("content", "get", name))
                assert manifest["config"]["digest"] == image.id
                running.remove(*(f"docker.io/{tag}" for tag in image.tags))


def test_an_archive_is_what_docker_saves_where_it_keeps_images_in_containerd(
    mount: Mount, archives: dict[str, list[Path]], suite: str, short_folder: Path
) -> None:
    """But for `repositories`, which its classic store writes."""
    if suite == HOST:  # Debian 12's Docker has no such store
        return
    settings = short_folder / "daemon.json"
    settings.write_text('{"features": {"containerd-snapshotter": true}}')
    saved, image = short_folder / "saved.tar", IMAGES[1]
    with machine(suite) as inside:
        with dockerd(inside, short_folder, "overlayfs", "--config-file", settings) as docker:
            docker.load(archives["gzip"][1])
            docker.command("save", "-o", saved, *image.tags)
            with mount(docker.source) as top:
                shown = (top / f"images/{image.id.hex}/docker.tar").read_bytes()
    own, added = saved.read_bytes().removesuffix(bytes(1024)), 2 * 512
    assert shown.startswith(own)
    assert shown[len(own) :][:12] == b"repositories"
    assert len(shown) == len(own) + added + 1024
