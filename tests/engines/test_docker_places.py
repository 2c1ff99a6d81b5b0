"""Docker with containerd's image store, in each place that it may lie, beside what Docker itself says."""

import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.conftest import Imgfs, Mount
from tests.engines.containerd import archive_of, containerd, multi_platform_layout
from tests.engines.engine import Docker, dockerd, run
from tests.engines.hurting import context
from tests.engines.machine import HOST, SUITES, Machine, machine
from tests.engines.test_rootfs import DOCKERS_OWN, check_export, extracted, without_dockers_own
from tests.images import TestImage, docker_archive, layer_tar
from tests.tree.stacks import Entry, real_facts, tar

BASE = TestImage([layer_tar({"base": b"b" * 1000})], ["same:1"])
CHILD = TestImage([*BASE.layers, layer_tar({"bin/": None, "bin/child": b"c"})], ["some/child:2"])
OTHER = TestImage([layer_tar({"other": b"o"})], ["same:1"])

# Debian 12's Docker has no such store
pytestmark = pytest.mark.parametrize("suite", [each for each in SUITES if each != HOST], indirect=True)

Start = Callable[[Machine, Path, *tuple[str, ...]], AbstractContextManager[Docker]]


@contextmanager
def alone(inside: Machine, folder: Path, *options: str) -> Iterator[Docker]:
    """A Docker that runs a containerd of its own."""
    settings = folder / "daemon.json"
    settings.write_text('{"features": {"containerd-snapshotter": true}}')
    with dockerd(inside, folder, "overlayfs", "--config-file", settings, *options) as docker:
        yield docker


@contextmanager
def beside(inside: Machine, folder: Path, *options: str) -> Iterator[Docker]:
    """A Docker that uses the containerd of its machine."""
    system = folder / "system"
    system.mkdir(exist_ok=True)
    with containerd(inside, system, folder / "containerd") as running:
        with alone(inside, folder, "--containerd", str(running.socket), *options) as docker:
            yield docker


STARTS = {"own": alone, "system": beside}


@pytest.fixture
def inside(suite: str) -> Iterator[Machine]:
    with machine(suite) as running:
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that remapped users reach."""
    with tempfile.TemporaryDirectory(prefix="imgfs-") as name:
        os.chmod(name, 0o711)
        yield Path(name)


@pytest.fixture
def start(place: str) -> Start:
    return STARTS[place]


def described(docker: Docker, *names: str) -> dict[str, dict[str, object]]:
    """What Docker says of images, by the digests that it has for IDs."""
    return {of["Id"]: of for of in json.loads(docker.command("image", "inspect", *names))} if names else {}


def check_images(docker: Docker, imgfs: Imgfs, expected: dict[str, TestImage]) -> None:
    """Compare the images that are named, and what is said of them, with what Docker says."""
    listed = json.loads(imgfs("ls", "--json", docker.source).stdout)
    assert {tag: row["id"] for row in listed for tag in row["tags"]} == {
        tag: image.id for tag, image in expected.items()
    }
    theirs = described(docker, *docker.images())
    assert {tag for their in theirs.values() for tag in their["RepoTags"]} <= expected.keys()  # type: ignore[attr-defined]
    for digest, their in theirs.items():
        names = [digest, *their["RepoDigests"], *their["RepoTags"]]  # type: ignore[misc]
        for ours in json.loads(imgfs("inspect", "--source", docker.source, *names).stdout):
            for field in ("RepoTags", "RepoDigests", "RootFS", "Architecture", "Os"):
                assert ours[field] == their[field], field


def check_owners(docker: Docker, imgfs: Imgfs, mount: Mount, name: str, folder: Path) -> None:
    """Compare the owners in a container that has files of several ones with those that Docker exports."""
    for container in ("same", "changed"):
        docker.command("create", "--name", container, name, "/x")
    given = tar([Entry(f"of{owner}", tarfile.REGTYPE, "x", owner=owner) for owner in (0, 9, 65535)])
    run(*docker.client, "cp", "-a", "-", "changed:/", stdin=given)
    docker.command("export", "-o", folder / "changed.tar", "changed")
    theirs = without_dockers_own(extracted(folder / "changed.tar", folder / "changed"))
    with mount(docker.source) as top:
        ours = without_dockers_own(real_facts(top / "containers/by-name/changed/rootfs"))
    owners = {path: fact[1:3] for path, fact in ours.items()}
    assert owners == {path: fact[1:3] for path, fact in theirs.items()}
    assert owners[b"of9"] == (9, 9)
    drift = imgfs("drift", "--source", docker.source, "same").stdout
    assert {line[3:] for line in drift.splitlines()} <= set(DOCKERS_OWN)


def check_layers(imgfs: Imgfs, source: str, images: Iterable[TestImage]) -> None:
    """Compare the bytes of all layers with those that the images were made of."""
    for image in images:
        tar = imgfs("export", "--tar", "verbatim", "--source", source, image.id).stdout
        assert tar == image.verbatim


@pytest.mark.parametrize("place", STARTS)
@pytest.mark.parametrize("options", [[], ["--userns-remap=default"]], ids=["plain", "remapped"])
def test_images_are_found_by_the_names_and_digests_that_docker_shows(
    inside: Machine,
    start: Start,
    imgfs: Imgfs,
    mount: Mount,
    folder: Path,
    tmp_path: Path,
    options: list[str],
) -> None:
    with start(inside, folder, *options) as docker:
        docker.load(docker_archive(tmp_path / "images.tar", [BASE, CHILD]))
        check_images(docker, imgfs, {"same:1": BASE, "some/child:2": CHILD})
        check_export(mount, docker, "some/child:2", CHILD.id.hex, tmp_path)
        check_owners(docker, imgfs, mount, "some/child:2", tmp_path)
    listed = imgfs("ls", "--format", "{{.Repository}}:{{.Tag}}", docker.source).stdout.decode().split()
    assert sorted(listed) == ["same:1", "some/child:2"], "as on a disk of a machine that is off"


def test_images_that_docker_builds_are_what_it_exports(
    inside: Machine, imgfs: Imgfs, mount: Mount, tmp_path: Path
) -> None:
    with alone(inside, tmp_path) as docker:
        docker.build_family(context(tmp_path / "context"))
        (top,) = json.loads(imgfs("inspect", "--source", docker.source, "hurting:top").stdout)
        assert top["RootFS"] == next(iter(described(docker, "hurting:top").values()))["RootFS"]
        check_export(mount, docker, "hurting:top", top["Id"][7:], tmp_path)


def test_of_a_classic_store_and_that_of_containerd_both_are_seen(
    inside: Machine, imgfs: Imgfs, tmp_path: Path
) -> None:
    with dockerd(inside, tmp_path, "overlay2") as classic:
        classic.load(docker_archive(tmp_path / "classic.tar", [BASE, CHILD]))
        theirs = {"same:1": BASE, "some/child:2": CHILD}
        check_images(classic, imgfs, theirs)
    with alone(inside, tmp_path) as docker:
        check_images(docker, imgfs, theirs)
        docker.load(docker_archive(tmp_path / "new.tar", [OTHER]))
        assert docker.tags().keys() == {"same:1"}
        check_images(docker, imgfs, theirs | {"same:1": OTHER})


@pytest.mark.parametrize("options", [[], ["--userns-remap=default"]], ids=["plain", "remapped"])
def test_a_classic_store_has_what_docker_shows(
    inside: Machine, imgfs: Imgfs, mount: Mount, folder: Path, tmp_path: Path, options: list[str]
) -> None:
    with dockerd(inside, folder, "overlay2", *options) as docker:
        docker.load(docker_archive(tmp_path / "images.tar", [BASE, CHILD]))
        check_images(docker, imgfs, {"same:1": BASE, "some/child:2": CHILD})
        check_export(mount, docker, "some/child:2", CHILD.id.hex, tmp_path)
        check_owners(docker, imgfs, mount, "some/child:2", tmp_path)


def test_docker_saves_all_platforms_of_an_image_and_each_has_its_name(
    inside: Machine, imgfs: Imgfs, tmp_path: Path
) -> None:
    images = {
        name: TestImage([*BASE.layers, layer_tar({name: b"x"})], extra={"architecture": name})
        for name in ("amd64", "arm64")
    }
    layout = multi_platform_layout(tmp_path / "layout", images, "docker.io/library/multi:1")
    saved = tmp_path / "saved.tar"
    with alone(inside, tmp_path) as docker:
        docker.load(archive_of(layout))
        docker.command("tag", "multi:1", "again:2")
        docker.command("save", "-o", saved, "multi:1", "again:2")
        for source in (docker.source, f"docker-archive:{saved}"):
            rows = json.loads(imgfs("ls", "--json", source).stdout)
            assert {row["id"] for row in rows} == {image.id for image in images.values()}
            assert sorted(tag for row in rows for tag in row["tags"]) == ["again:2", "multi:1"]
            check_layers(imgfs, source, images.values())
