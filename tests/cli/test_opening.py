"""Several sources at once, some of which are not there."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.images import TestImage
from tests.sources.containerd.roots import Root

Run = Callable[..., subprocess.CompletedProcess[bytes]]

_PROGRAM = """
import imgfs.sources.containerd.store
imgfs.sources.containerd.store.DEFAULT_ROOT = {root!r}
def unreadable(rest, indexer):
    raise PermissionError(13, "Permission denied", "/var/lib/docker")
imgfs.sources.SCHEMES = {{**imgfs.sources.SCHEMES, "docker": unreadable}}
from imgfs.cli.main import main
main()
"""


@pytest.fixture
def run(environment: None, tmp_path: Path) -> Run:
    """Runs the command on a machine where containerd is in the folder `containerd`, if that is there.

    Docker's store may not be read there.
    """
    program = _PROGRAM.format(root=str(tmp_path / "containerd"))

    def run(*arguments: str | Path, status: int = 0, first: str = "") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", first + program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == status, done.stderr.decode()
        return done

    return run


@pytest.fixture
def containerd(tmp_path: Path, images: list[TestImage]) -> TestImage:
    """Puts containerd there, with this image."""
    root = Root(tmp_path / "containerd", images[0])
    root.name({"default": {"in/containerd:1": root.manifests[0]}})
    return images[0]


def test_those_that_are_not_there_are_left_out_with_a_line_each(
    run: Run, tmp_path: Path, archive: Path
) -> None:
    done = run("ls", "--json", "docker:", "containerd:", archive, status=3)
    assert len(json.loads(done.stdout)) == 3
    assert done.stderr.decode().splitlines() == [
        "imgfs: skipping docker: /var/lib/docker: Permission denied",
        f"imgfs: skipping containerd: {tmp_path / 'containerd'}: no containerd there",
    ]


def test_mounting_shows_the_rest(run: Run, tmp_path: Path, containerd: TestImage) -> None:
    top = tmp_path / "mnt"
    top.mkdir()
    log = tmp_path / "log"
    done = run("mount", "--log-file", log, "docker:", "containerd:", top)
    try:
        assert done.stderr.count(b"\n") == 1
        assert b"skipping docker:" in done.stderr
        assert "skipping docker:" in log.read_text()
        assert os.listdir(top / "images") == [containerd.id[7:]]
    finally:
        run("umount", top)


def test_if_there_is_none_at_all_it_is_an_error(run: Run, tmp_path: Path) -> None:
    (line,) = run("ls", "docker:", "containerd:", status=1).stderr.decode().splitlines()
    assert "none of the sources" in line
    assert "docker: /var/lib/docker: Permission denied" in line
    assert "no containerd there" in line
    (line,) = run("ls", "docker:", status=1).stderr.decode().splitlines()
    assert line == "imgfs: /var/lib/docker: Permission denied"


def test_one_given_with_its_place_has_to_be_there(run: Run, tmp_path: Path, containerd: TestImage) -> None:
    for reference in (f"containerd:{tmp_path / 'absent'}", f"oci:{tmp_path / 'absent'}", tmp_path / "absent"):
        (line,) = run("ls", "containerd:", reference, status=1).stderr.decode().splitlines()
        assert str(tmp_path / "absent") in line


def test_ls_of_all_says_where_each_image_lives(
    run: Run, tmp_path: Path, archive: Path, containerd: TestImage
) -> None:
    run("load", archive)
    done = run("ls")
    heading, *lines = (line.rstrip() for line in done.stdout.decode().splitlines())
    assert heading.endswith("SOURCE")
    own, other = "imgfs:", "containerd:"
    both = [line for line in lines if line.endswith(f"{own}, {other}")]
    assert sorted(line.split()[0] for line in both) == ["example/base:1", "in/containerd:1"]
    assert all(line.endswith(own) for line in lines if line not in both)
    assert all(line.count(own) == 1 for line in lines)
    assert done.stderr.decode().splitlines() == ["imgfs: skipping docker: /var/lib/docker: Permission denied"]


def test_an_ordinary_user_is_told_how_to_read_the_rest(run: Run, tmp_path: Path) -> None:
    user = "import os, sys; os.geteuid = lambda: 1000; sys.argv[0] = '/imgfs'\n"
    denied = "docker: /var/lib/docker: Permission denied (as root: sudo /imgfs"
    for command in ("ls", "tree"):
        assert f"imgfs: skipping {denied} {command})" in _lines(run(command, first=user))
    assert _lines(run("ls", "docker:", status=1, first=user)) == [
        "imgfs: /var/lib/docker: Permission denied (as root: sudo /imgfs ls docker:)"
    ]
    for writing in (["save", "-o", "x", "docker:app"], ["export", "docker:app", "-C", "x"]):
        (line,) = _lines(run(*writing, status=1, first=user))
        assert line.endswith(f"(as root: sudo /imgfs {' '.join(writing)})")
    error, *notes = _lines(run("inspect", "none", status=1, first=user))
    assert error.startswith("imgfs: No such image: none (looked in imgfs:")
    assert f"imgfs: cannot read {denied} inspect none)" in notes
    assert all(line.startswith("imgfs: cannot read ") for line in notes)
    error, *notes = _lines(run("ls", "none", status=1, first=user))
    assert error == f"imgfs: skipping {denied} ls none)"


def test_a_store_that_was_named_and_cannot_be_read_makes_a_list_incomplete(run: Run, archive: Path) -> None:
    for named in (["docker:"], ["docker:app"]):
        assert b"skipping docker:" in run("ls", *named, archive, status=3).stderr
    assert b"skipping docker:" in run("tree", "docker:", archive, status=3).stderr


def _lines(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    return done.stderr.decode().splitlines()


def test_ls_of_all_says_nothing_of_what_is_not_there(run: Run) -> None:
    stderr = run("ls").stderr
    assert b"docker" in stderr
    assert b"containerd" not in stderr


def test_the_doctor_tells_what_is_there(run: Run, tmp_path: Path, containerd: TestImage) -> None:
    lines = [line.split(maxsplit=1) for line in run("doctor").stdout.decode().splitlines()]
    assert ["ok", f"containerd:{tmp_path / 'containerd'}: 1 image"] in lines
    assert ["FAILS", "docker: cannot be read: /var/lib/docker: Permission denied"] in lines


@pytest.mark.parametrize("arguments", [["--help"], ["mount", "--help"], ["doctor", "--help"]])
def test_help_is_laid_out_as_written(run: Run, arguments: list[str]) -> None:
    output = run(*arguments).stdout
    assert b"\\b" not in output
    assert b"\b" not in output
