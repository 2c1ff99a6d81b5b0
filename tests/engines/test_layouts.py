"""What a mount shows as layouts and archives, taken by engines as it is: the images are the same."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import Mount
from tests.engines.conftest import Engines
from tests.engines.containerd import containerd
from tests.engines.engine import dockerd
from tests.engines.machine import HOST, machine
from tests.images import TestImage, docker_archive, layer_tar, oci_layout

_LAYERS = [
    layer_tar({"bin/": None, "bin/tool": b"tool" * 50_000}),
    layer_tar({"etc/": None, "etc/new": b"new"}),
]
IMAGE = TestImage(_LAYERS, ["shown/app:1", "shown/app:latest"])

_IMPLIED = re.compile("^(docker.io|localhost)/")


def sources(folder: Path) -> dict[str, str]:
    """The images, stored in several ways."""
    gzipped = oci_layout(folder / "gzip", [IMAGE])
    return {
        "made": f"docker-archive:{docker_archive(folder / 'a.tar', [IMAGE])}",
        "gzip": f"oci:{gzipped}",
        "docker": f"oci:{oci_layout(folder / 'docker', [IMAGE], with_docker_types=True)}",
        "zstd": f"oci:{oci_layout(folder / 'zstd', [IMAGE], 'zstd')}",
    }


@pytest.fixture
def archives(mount: Mount, tmp_path: Path) -> dict[str, Path]:
    """The docker.tar of the image, from each source, copied, as a machine of an engine has other mounts."""
    found = {}
    for kind, source in sources(tmp_path).items():
        with mount(source) as top:
            tar = top / f"images/{IMAGE.id.hex}/docker.tar"
            found[kind] = Path(shutil.copyfile(tar, tmp_path / f"{kind}.tar"))
    return found


@pytest.mark.parametrize("kind", ["docker-overlay2", "podman-overlay"])
def test_engines_load_archives(engines: Engines, archives: dict[str, Path], kind: str, suite: str) -> None:
    engine = engines[kind].engine
    for how, path in archives.items():
        if how == "zstd" and kind.startswith("docker") and suite == HOST:
            continue  # Docker learned of zstd in version 23
        engine.load(path)
        # podman puts what it takes to be implied before names
        found = {_IMPLIED.sub("", tag): image_id for tag, image_id in engine.tags().items()}
        loaded = {tag: image_id for tag, image_id in found.items() if tag.startswith("shown/")}
        assert loaded == dict.fromkeys(IMAGE.tags, IMAGE.id.hex), how
        engine.command("rmi", "-f", IMAGE.id.hex)


def test_containerd_imports_archives(archives: dict[str, Path], suite: str, short_folder: Path) -> None:
    names = [f"docker.io/{tag}" for tag in IMAGE.tags]
    with machine(suite) as inside, containerd(inside, short_folder, short_folder / "root") as running:
        for path in archives.values():
            running.ctr("images", "import", path)
            assert running.ctr("images", "ls", "-q").split() == names
            words = running.ctr("images", "ls", f"name=={names[0]}").split()
            manifest = next(word for word in words if word.startswith("sha256:"))
            assert json.loads(running.ctr("content", "get", manifest))["config"]["digest"] == IMAGE.id
            running.remove(*names)


def test_an_archive_is_what_docker_saves_where_it_keeps_images_in_containerd(
    mount: Mount, archives: dict[str, Path], suite: str, short_folder: Path
) -> None:
    """But for `repositories`, which its classic store writes."""
    if suite == HOST:  # Debian 12's Docker has no such store
        return
    settings = short_folder / "daemon.json"
    settings.write_text('{"features": {"containerd-snapshotter": true}}')
    saved = short_folder / "saved.tar"
    with machine(suite) as inside:
        with dockerd(inside, short_folder, "overlayfs", "--config-file", settings) as docker:
            docker.load(archives["gzip"])
            docker.command("save", "-o", saved, *IMAGE.tags)
            with mount(docker.source) as top:
                shown = (top / f"images/{IMAGE.id.hex}/docker.tar").read_bytes()
    own, added = saved.read_bytes().removesuffix(bytes(1024)), 2 * 512
    assert shown.startswith(own)
    assert shown[len(own) :][:12] == b"repositories"
    assert len(shown) == len(own) + added + 1024
