"""Stores of Podman that a storage.conf splits, whole trees of each image compared with what Podman mounts."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount
from tests.engines.engine import Podman
from tests.engines.machine import HOST, SUITES, Machine, machine
from tests.images import TestImage, docker_archive
from tests.tree.stacks import EXAMPLE, Facts, check_same, real_facts, tar

# a directory without a member of its own has the time at which it was unpacked
FIRST, SECOND, *REST = EXAMPLE
LAYERS = [tar(layer) for layer in (FIRST, [FIRST[0], *SECOND], *REST)]
BASE, CHILD = TestImage(LAYERS[:2], ["localhost/base:1"]), TestImage(LAYERS, ["localhost/child:1"])


@pytest.fixture
def inside(suite: str) -> Iterator[Machine]:
    with machine(suite) as running:
        yield running


def comparable(facts: Facts) -> Facts:
    """The same without counts of links, which overlayfs has in its own way for directories and hidden names."""
    return {path: (*fact[:3], 0, *fact[4:]) for path, fact in facts.items()}


def check_trees(podman: Podman, mount: Mount, mounted: Sequence[tuple[TestImage, Path]]) -> None:
    """Compare all images, their names and what they show with what Podman lists and has `mounted`."""
    seen = {image.id: comparable(real_facts(path)) for image, path in mounted}
    with mount(podman.source) as top:
        assert {path.name for path in (top / "images").iterdir()} == podman.images()
        for image, _ in mounted:
            folder = top / "images" / image.id[7:]
            assert (folder / "tags").read_text().split() == list(image.tags)
            check_same(comparable(real_facts(folder / "rootfs")), seen[image.id])
            (folder / "flat.tar").read_bytes()
            assert (
                b"".join(each.read_bytes() for each in sorted(folder.glob("layers/*.tar"))) == image.verbatim
            )


def test_images_of_additional_stores_are_what_podman_mounts(
    inside: Machine, short_folder: Path, mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lower layers of one image lie in another store than its top."""
    (short_folder / "more").mkdir()
    more = Podman(inside, short_folder / "more", "overlay")
    more.load(docker_archive(tmp_path / "base.tar", [BASE]))
    podman = Podman(
        inside, short_folder, "overlay", f'[storage.options]\nadditionalimagestores = ["{more.root}"]\n'
    )
    podman.load(docker_archive(tmp_path / "child.tar", [CHILD]))
    assert len(json.loads((podman.root / "overlay-layers/layers.json").read_bytes())) == 1
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(podman.conf))
    # of an image in an additional store, only a container can be mounted
    container = podman.command("create", "--network=none", BASE.tags[0], "/a")
    merged = inside.seen(Path(podman.command("mount", container)))
    check_trees(podman, mount, [(BASE, merged), (CHILD, podman.mounted(CHILD.tags[0]))])


# Debian 12's Podman keeps all in one place
@pytest.mark.parametrize("suite", [each for each in SUITES if each != HOST], indirect=True)
def test_images_and_containers_of_an_image_store_are_what_podman_mounts(
    inside: Machine,
    short_folder: Path,
    mount: Mount,
    imgfs: Imgfs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    podman = Podman(inside, short_folder, "overlay", f'imagestore = "{short_folder / "images"}"\n')
    podman.load(docker_archive(tmp_path / "images.tar", [BASE, CHILD]))
    assert not (podman.root / "overlay-images/images.json").exists()
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(podman.conf))
    check_trees(podman, mount, [(image, podman.mounted(image.tags[0])) for image in (BASE, CHILD)])
    container = podman.command("create", "--network=none", CHILD.tags[0])
    merged = inside.seen(Path(podman.command("mount", container)))
    (merged / "added").write_text("in the container")
    seen = comparable(real_facts(merged))
    with mount(podman.source) as top:
        check_same(comparable(real_facts(top / "containers" / container / "rootfs")), seen)
    options = f"overlay.imagestore={short_folder / 'images'}"
    monkeypatch.delenv("CONTAINERS_STORAGE_CONF")
    listed = json.loads(imgfs("ls", "--json", f"containers-storage:[overlay@{podman.root}:{options}]").stdout)
    assert {row["id"] for row in listed} == {BASE.id, CHILD.id}
