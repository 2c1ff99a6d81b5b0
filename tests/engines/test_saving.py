"""What imgfs saves, loaded by engines: the images are the same."""

from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.engines.conftest import Engines
from tests.images import TestImage, docker_archive, layer_tar


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("docker-overlay2", "docker-archive"),
        ("podman-overlay", "docker-archive"),
        ("podman-overlay", "oci-archive"),
    ],
)
def test_an_engine_loads_the_same_images(
    imgfs: Imgfs, engines: Engines, tmp_path: Path, kind: str, form: str
) -> None:
    below = layer_tar({"bin/": None, "bin/tool": b"tool" * 5000})
    images = [
        TestImage([below], [f"saved-{form}/base:1"]),
        TestImage([below, layer_tar({"etc/": None, "etc/new": b"new"})], [f"saved-{form}/child:2"]),
    ]
    source = docker_archive(tmp_path / "source.tar", images)
    names = [image.tags[0] for image in images][: 1 if form == "oci-archive" else 2]
    imgfs("save", "--source", source, "--format", form, "-o", tmp_path / "saved.tar", *names)
    engine = engines[kind].engine
    engine.load(tmp_path / "saved.tar")
    try:
        found = engine.tags()
        for name, image in zip(names, images, strict=False):
            assert [found[tag] for tag in found if tag.endswith(name)] == [image.id.hex]
    finally:
        engine.command("rmi", *names)


def test_podman_loads_what_is_copied(imgfs: Imgfs, engines: Engines, tmp_path: Path) -> None:
    image = TestImage([layer_tar({"bin/": None, "bin/tool": b"tool" * 5000})], ["copied/app:1"])
    source = docker_archive(tmp_path / "source.tar", [image])
    engine = engines["podman-overlay"].engine
    for form in ("docker-archive", "oci-archive"):
        name = f"copied-{form}/app:1"
        imgfs("copy", f"docker-archive:{source}:copied/app:1", f"{form}:{tmp_path / form}:{name}")
        engine.load(tmp_path / form)
        try:
            found = engine.tags()
            assert [found[tag] for tag in found if tag.endswith(name)] == [image.id.hex]
        finally:
            engine.command("rmi", image.id.hex)
