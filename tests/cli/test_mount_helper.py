"""Being called by mount(8)."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from imgfs.cli.main import mount_helper
from imgfs.cli.mount_helper import mount_arguments
from tests.conftest import Imgfs
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


def test_mount_mounts_by_type(imgfs: Imgfs, archive: Path, tmp_path: Path) -> None:
    require_root()
    program = (
        "import sys; from imgfs.cli.main import mount_helper; sys.argv[0] = 'mount.imgfs'; mount_helper()"
    )
    helper = Path("/sbin/mount.imgfs")
    assert not os.path.lexists(helper)
    helper.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}" "$@"\n')
    try:
        helper.chmod(0o755)
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
        assert failed.returncode == 32 and failed.stderr.startswith(
            b"imgfs: /none: No such file or directory"
        )
    finally:
        helper.unlink()
