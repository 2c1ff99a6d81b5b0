"""Containers where commands take an image: how they are named, and what is read of them."""

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.containers import docker_container, write_record
from tests.images import TestImage, digest, layer_tar
from tests.splitting import docker_root

IMAGES = [
    TestImage([layer_tar({"etc/motd": b"image", "etc/gone": b"1"}), layer_tar({"b": b"2"})], ["app:1"]),
    TestImage([layer_tar({"etc/motd": b"other"})], ["name3:latest", "container:other"]),
]


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A source with the containers name1, name2 and name3, of which the last is called like an image."""
    root = docker_root(tmp_path / "root", IMAGES)
    for number in (1, 2, 3):
        _, own = docker_container(root, IMAGES[0], number)
        (own / "etc").mkdir()
        (own / "etc/motd").write_text(f"container {number}")
        os.mknod(own / "etc/gone", 0o020000, os.makedev(0, 0))
    return f"docker:{root}"


def _named(root: str, name: str) -> str:
    return f"docker:[{root.removeprefix('docker:')}]{name}"


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("name1", b"container 1"),
        ("1" * 64, b"container 1"),
        ("11", b"container 1"),
        ("container:name1", b"container 1"),
        ("container:2", b"container 2"),
        ("app:1", b"image"),
        ("name3", b"other"),  # an image's, too
        ("name3:latest", b"other"),
        ("container:name3", b"container 3"),
        ("docker.io/library/container:other", b"other"),
    ],
)
def test_what_a_name_means(imgfs: Imgfs, root: str, name: str, read: bytes) -> None:
    assert imgfs("cat", "--source", root, f"{name}:/etc/motd").stdout == read
    assert imgfs("cat", f"{_named(root, name)}:/etc/motd").stdout == read


def test_a_name_is_taken_before_the_begin_of_an_id(imgfs: Imgfs, root: str) -> None:
    begin = IMAGES[0].id.removeprefix("sha256:")[:12]
    assert imgfs("cat", "--source", root, f"{begin}:/etc/motd").stdout == b"image"
    write_record(Path(root.removeprefix("docker:")), "1" * 64, IMAGES[0], Name=f"/{begin}")
    assert imgfs("cat", "--source", root, f"{begin}:/etc/motd").stdout == b"container 1"
    whole = IMAGES[0].id.removeprefix("sha256:")
    assert imgfs("cat", "--source", root, f"{whole}:/etc/motd").stdout == b"image"


def test_what_is_not_there_or_is_several(imgfs: Imgfs, root: str) -> None:
    said = imgfs("cat", "--source", root, "name4:/a", status=1).stderr.decode()
    assert said.startswith(f"imgfs: No such image or container: name4 (looked in {root}); did you mean name")
    said = imgfs("cat", "--source", root, "container:app:1:/a", status=1).stderr.decode()
    assert said.startswith("imgfs: No such container: container:app:1 (looked in ")
    said = imgfs("layers", "--source", root, "name1", status=1).stderr.decode()
    assert said == "imgfs: No such image: name1 (a container is called so)\n"


def test_containers_of_one_name_in_two_sources(imgfs: Imgfs, root: str, tmp_path: Path) -> None:
    other = docker_root(tmp_path / "other", IMAGES[:1])
    docker_container(other, IMAGES[0], 4)
    write_record(other, "4" * 64, IMAGES[0], Name="/name1")
    sources = ("--source", root, "--source", f"docker:{other}")
    said = imgfs("find", *sources, "name1", "motd", status=2).stderr.decode()
    assert said == (
        "imgfs: name1 is the name of different containers; choose "
        f"{_named(root, 'name1')} (111111111111) or {_named(f'docker:{other}', 'name1')} (444444444444)\n"
    )


def test_layers_of_a_container_have_names(imgfs: Imgfs, root: str) -> None:
    lines = imgfs("which", "--source", root, "name1", "/etc/motd").stdout.decode().splitlines()
    assert lines[0] == "03-111111111111  replaced: file of 11 bytes  # container name1"
    assert lines[1].startswith("00-") and "added: file of 5 bytes" in lines[1]
    own, below = json.loads(imgfs("which", "--source", root, "--json", "name1", "/etc/motd").stdout)
    assert (own["layer"], own["diff_id"], own["created_by"]) == (3, None, "container name1")
    assert below["diff_id"] == digest(IMAGES[0].layers[0])
    gone = imgfs("which", "--source", root, "name1:/etc/gone", status=1).stdout.decode()
    assert gone.startswith("03-111111111111  removed by the whiteout etc/.wh.gone")
    found = imgfs("find", "--source", root, "--layers", "name1", ".dockerenv").stdout
    assert found == b"02-111111111111-init  /.dockerenv\n"
    deleted = imgfs("find", "--source", root, "--deleted", "name1", "*").stdout.decode().splitlines()
    assert [line.split()[1] for line in deleted] == ["/etc/gone", "/etc/motd"]


def test_drift_exits_as_diff_does(imgfs: Imgfs, root: str) -> None:
    assert imgfs("drift", "--source", root, "name1").stdout == b"C /etc\nD /etc/gone\nC /etc/motd\n"
    assert imgfs("drift", "--exit-code", _named(root, "container:name1"), status=1).stdout.count(b"\n") == 3
    lines = imgfs("drift", "--json", "--source", root, "1").stdout.splitlines()
    assert [(each["path"], each["change"], each.get("differs")) for each in map(json.loads, lines)] == [
        ("/etc", "changed", None),
        ("/etc/gone", "removed", None),
        ("/etc/motd", "changed", ["size", "time"]),
    ]
    said = imgfs("drift", "--source", root, "app:1", status=2).stderr.decode()
    assert said.startswith("imgfs: No such container: app:1 (looked in ")


def test_drift_of_a_container_that_holds_all_files_is_against_its_image(imgfs: Imgfs, tmp_path: Path) -> None:
    root = docker_root(tmp_path / "root", IMAGES[:1], "vfs")
    docker_container(root, IMAGES[0], 1, "vfs")
    whole = root / "vfs/dir/mount1"
    (whole / "etc").mkdir(parents=True)
    (whole / "etc/motd").write_text("changed")
    listed = imgfs("drift", "--source", f"docker:{root}", "name1").stdout
    assert listed == b"D /b\nC /etc\nD /etc/gone\nC /etc/motd\n"
    write_record(root, "1" * 64, IMAGES[0], "vfs", Name="/name1", Image=f"sha256:{'0' * 64}")
    said = imgfs("drift", "--source", f"docker:{root}", "name1", status=2).stderr.decode()
    assert said == "imgfs: name1: its image is not there to compare it with: example/base:1\n"


def test_commands_read_a_container(imgfs: Imgfs, root: str, tmp_path: Path) -> None:
    differing = imgfs("diff", "--source", root, "app:1", "name1").stdout.decode().splitlines()
    assert [(line.split()[0], line.split()[2]) for line in differing] == [
        ("A", "/.dockerenv"),
        ("D", "/etc/gone"),
        ("C", "/etc/motd"),
    ]
    assert imgfs("ls", f"{_named(root, 'name1')}:/etc").stdout == b"motd\n"
    (listed,) = imgfs("ls", "--json", f"{_named(root, 'name1')}:/etc").stdout.splitlines()
    assert json.loads(listed)["id"] == "1" * 64
    imgfs("cp", f"{_named(root, 'name1')}:/etc/motd", tmp_path / "motd")
    assert (tmp_path / "motd").read_text() == "container 1"
    exported = imgfs("export", "--source", root, "name1").stdout
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        assert sorted(tar.getnames()) == [".dockerenv", "b", "etc", "etc/motd"]
    imgfs("export", "--source", root, "name1", "-C", tmp_path / "there")
    assert sorted(os.listdir(tmp_path / "there")) == [".dockerenv", "b", "etc"]
    with tarfile.open(
        fileobj=io.BytesIO(imgfs("export", "--source", root, "name1", "--tar", "diff").stdout)
    ) as tar:
        assert tar.getnames() == ["etc", "etc/.wh.gone", "etc/motd"]
        assert (tar.getmember("etc/.wh.gone").mode, tar.getmember("etc/.wh.gone").size) == (0o600, 0)
    said = imgfs("export", "--source", root, "app:1", "--tar", "diff", status=1).stderr
    assert said == b"imgfs: app:1: --tar diff is for containers\n"
    said = imgfs("export", "--source", root, "name1", "--tar", "rootfs", status=1).stderr
    assert said == b"imgfs: name1: --tar rootfs is for images; the layer of a container has no tar\n"
