"""Being called by mount(8)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import click
import pytest

from imgfs.cli.main import mount_helper
from imgfs.cli.mount_helper import mount_arguments, umount_arguments
from imgfs.store import this_architecture
from tests.conftest import Imgfs
from tests.images import TestImage, layer_tar
from tests.registry.filling import put_images
from tests.registry.serving import docker_registry
from tests.tools import require_root, require_tool


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        (["docker:", "/m"], ["mount", "-o", "", "--", "docker:", "/m"]),
        (["docker:", "/m", "-o", "rw"], ["mount", "-o", "", "--", "docker:", "/m"]),
        (["a", "/m", "-sv", "-o", "rw,uid=1,dev"], ["mount", "-o", "uid=1", "--", "a", "/m"]),
        (
            ["a", "/m", "-o", "uid=1", "-o", "gid=2", "-t", "imgfs"],
            ["mount", "-o", "uid=1,gid=2", "--", "a", "/m"],
        ),
        (["docker:,containerd:", "/m"], ["mount", "-o", "", "--", "docker:", "containerd:", "/m"]),
        (["oci:/a,b,/c,d.tar", "/m"], ["mount", "-o", "", "--", "oci:/a,b", "/c,d.tar", "/m"]),
        (["a", "/m", "-f"], None),
    ],
)
def test_arguments_are_those_of_mount(given: list[str], understood: list[str] | None) -> None:
    assert mount_arguments(given) == understood


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        (["/m"], ["umount", "--", "/m"]),
        (["/m", "-l", "-v", "-t", "fuse.imgfs"], ["umount", "-l", "--", "/m"]),
        (["-nfr", "/m"], ["umount", "--", "/m"]),
    ],
)
def test_arguments_are_those_of_umount(given: list[str], understood: list[str]) -> None:
    assert umount_arguments(given) == understood


@pytest.mark.parametrize("given", [[], ["a", "b"], ["a", "-x"], ["a", "-N", "1"]])
def test_what_is_no_such_call_of_umount_is_refused(given: list[str]) -> None:
    with pytest.raises(click.UsageError):
        umount_arguments(given)


@pytest.mark.parametrize("given", [[], ["a"], ["a", "b", "c"], ["a", "b", "-x"], ["a", "b", "-N", "1"]])
def test_what_is_no_such_call_is_refused(given: list[str]) -> None:
    with pytest.raises(click.UsageError):
        mount_arguments(given)


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        (["--help"], 0, ""),
        ([], 1, "Error: a SOURCE and a MOUNTPOINT are needed"),
        (["docker:", "/m", "-x"], 1, "Error: option -x not recognized"),
    ],
)
def test_the_usage_is_that_of_a_helper_of_mount(
    given: list[str],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["mount.imgfs", *given])
    with pytest.raises(SystemExit) as caught:
        mount_helper()
    usage, *rest = "".join(capfd.readouterr()).splitlines()
    assert usage == "Usage: mount.imgfs SOURCE MOUNTPOINT [-sfnv] [-o OPTIONS]"
    assert (caught.value.code, "\n".join(rest)) == (status, said)


def test_an_unknown_option_is_wrong_usage_as_mount_has_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mount.imgfs", "docker:", "/m", "-o", "allow-other"])
    with pytest.raises(SystemExit) as caught:
        mount_helper()
    assert caught.value.code == 1
    assert "did you mean allow_other?" in capfd.readouterr().err


def test_a_path_with_a_comma_is_one_source(tmp_path: Path) -> None:
    (tmp_path / "a,").mkdir()
    (tmp_path / "a," / "b").touch()
    assert mount_arguments([f"{tmp_path}/a,/b", "/m"]) == ["mount", "-o", "", "--", f"{tmp_path}/a,/b", "/m"]


@pytest.fixture
def helper() -> Iterator[None]:
    """What mount(8) calls for the type imgfs, umount(8), and mount.fuse3(8) for fuse.imgfs, is installed."""
    require_root()
    program = "import sys; from imgfs.cli import main; sys.argv[0] = '{name}'; main.{function}()"
    with ExitStack() as stack:
        for path, function in (
            ("/sbin/mount.imgfs", "mount_helper"),
            ("/sbin/umount.fuse.imgfs", "umount_helper"),
            ("/usr/local/bin/imgfs", "main"),
        ):
            made = Path(path)
            assert not os.path.lexists(made)
            stack.callback(made.unlink)
            text = program.format(name=made.name, function=function)
            made.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{text}" "$@"\n')
            made.chmod(0o755)
        yield


def test_mount_mounts_by_type(helper: None, imgfs: Imgfs, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "mnt").mkdir()
    mount: list[str | Path] = [
        require_tool("mount"),
        "-t",
        "imgfs",
        archive,
        tmp_path / "mnt",
        "-o",
        "uid=7",
    ]
    subprocess.run(mount, check=True)
    assert len(os.listdir(tmp_path / "mnt/images")) == 3
    assert os.stat(tmp_path / "mnt/images").st_uid == 7
    imgfs("umount", tmp_path / "mnt")
    failed = subprocess.run([*mount[:3], "/none", tmp_path / "mnt"], capture_output=True, check=False)
    assert failed.returncode == 32 and failed.stderr.startswith(b"imgfs: /none: No such file or directory")


@pytest.mark.parametrize("kind", ["imgfs", "fuse.imgfs"])
def test_a_registry_is_mounted_as_fstab_says(kind: str, helper: None, tmp_path: Path) -> None:
    """As at boot: nothing but root's own files says how the registry is reached."""
    (tmp_path / "mnt").mkdir()
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {}}))
    image = TestImage([layer_tar({"etc/": None, "etc/name": b"x"})], ["app:1"])
    settings = {"HOME": str(tmp_path / "root")}
    with docker_registry(tmp_path / "registry") as address:
        put_images(address, tmp_path / "layout", [image])
        options = (
            f"ro,_netdev,nofail,x-systemd.automount,tls-verify=false,platform=linux/{this_architecture()}"
        )
        options += f",authfile={tmp_path}/auth.json"
        fstab = tmp_path / "fstab"
        fstab.write_text(f"docker://{address}/app:1 {tmp_path}/mnt {kind} {options} 0 0\n")
        mount: list[str | Path] = [require_tool("mount"), "-T", fstab, tmp_path / "mnt"]
        subprocess.run(mount, env=settings, check=True)
        try:
            assert (tmp_path / f"mnt/tags/{address}/app/1/rootfs/etc/name").read_bytes() == b"x"
            source, _, kind_shown, *_ = next(
                line.split()
                for line in Path("/proc/self/mounts").read_text().splitlines()
                if f" {tmp_path}/mnt " in line
            )
            assert (source, kind_shown) == (f"docker://{address}/app:1", "fuse.imgfs")
        finally:
            subprocess.run([require_tool("umount"), tmp_path / "mnt"], check=True)
        fstab.write_text(f"docker://{address}/none:1 {tmp_path}/mnt {kind} {options} 0 0\n")
        failed = subprocess.run(mount, env=settings, capture_output=True, check=False)
        assert failed.returncode == 32
        assert failed.stderr.splitlines()[0].startswith(f"imgfs: docker://{address}/none:1: ".encode())


@pytest.mark.parametrize("command", [["umount", "mnt"], ["umount", "-c", "{top}"]])
def test_umount_unmounts_what_the_kernel_shows_too(
    command: list[str], helper: None, imgfs: Imgfs, archive: Path, tmp_path: Path
) -> None:
    top = tmp_path / "mnt"
    top.mkdir()
    imgfs("mount", "-o", "kernel", archive, top)
    for root in top.glob("images/*/rootfs"):
        os.listdir(root)
    subprocess.run([each.format(top=top) for each in command], cwd=tmp_path, check=True)
    assert not os.path.ismount(top)
