"""What errors say that users can do."""

import os
import shutil
import stat
from pathlib import Path

import click
import pytest

from imgfs.cli import remedies
from imgfs.cli.main import _hint as hint_for
from imgfs.cli.remedies import check_fuse, mount_as_root
from imgfs.errors import MountError, StoreError


@pytest.fixture
def ordinary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An ordinary user who can open a device in a folder of its own."""
    (tmp_path / "fuse").touch()
    monkeypatch.setattr(remedies, "_FUSE", str(tmp_path / "fuse"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_the_line_for_root_has_the_options_that_were_given_and_this_user(ordinary: Path) -> None:
    line = mount_as_root(["docker:", "my images.tar"], "/m", "noxattr")
    assert line.startswith("sudo ")
    assert line.endswith(" mount -o noxattr,allow_other,uid=1000 docker: 'my images.tar' /m")
    assert " mount -o allow_other,uid=1000 docker: DIR" in mount_as_root(["docker:"])


@pytest.mark.parametrize("is_known", [True, False])
def test_root_finds_the_program_by_the_name_in_that_line(
    ordinary: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    monkeypatch.setattr("sys.argv", ["/home/me/bin/imgfs"])
    monkeypatch.setattr(shutil, "which", lambda *_, **__: "/usr/bin/imgfs" if is_known else None)
    assert mount_as_root(["docker:"]).split()[1] == ("imgfs" if is_known else "/home/me/bin/imgfs")


def test_without_fusermount3_it_says_how_to_install_it(ordinary: Path) -> None:
    with pytest.raises(MountError, match=r"fusermount3 not found \(apt install fuse3"):
        check_fuse()


def test_a_fusermount3_for_a_group_says_how_to_join_it(
    ordinary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = ordinary / "fusermount3"
    program.touch()
    program.chmod(0o640)
    with pytest.raises(MountError, match="sudo chmod 4755"):
        check_fuse()
    status = list(os.stat(program))
    status[stat.ST_GID], status[stat.ST_MODE] = 54321, stat.S_IFREG | 0o750
    monkeypatch.setattr(os, "stat", lambda *_, **__: os.stat_result(status))
    with pytest.raises(MountError, match=r"Permission denied \(sudo usermod -aG 54321 \$USER, and log in"):
        check_fuse()


def test_a_device_that_is_absent_or_closed_to_the_user_says_what_to_do(
    ordinary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as closed, pytest.raises(MountError, match="sudo chmod 666"):
        closed.setattr(os, "open", denied)
        check_fuse()
    (ordinary / "fuse").unlink()
    with pytest.raises(
        MountError, match=r"No such file .* \(modprobe fuse loads it; in a container, .*--device"
    ):
        check_fuse()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("var/private", " (in a store of rootless Podman: podman unshare PROGRAM cat app:/x)"),
        ("/var/lib/docker", " (as root: sudo PROGRAM cat app:/x)"),
    ],
)
def test_a_store_that_may_not_be_read_is_read_by_root_and_a_layer_in_the_namespace_of_podman(
    ordinary: Path, monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.setattr("sys.argv", ["/imgfs", "cat", "app:/x"])
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    error = StoreError("cannot be read")
    error.__cause__ = PermissionError(13, "Permission denied", name)
    context = click.Context(click.Group())
    context.invoked_subcommand = "cat"
    assert hint_for(error, context) == hint.replace("PROGRAM", "/imgfs")
