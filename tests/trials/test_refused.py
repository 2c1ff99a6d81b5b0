"""A store and a cache that may be read and not written: what only reads works, what writes ends with one line."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.conftest import Imgfs
from tests.images import TestImage, docker_archive, layer_tar
from tests.tools import require_root, require_tool

IMAGE = TestImage([layer_tar({"a": b"a" * 1000})], ["a:1"])
READING = (["ls"], ["tree"], ["inspect", "a:1"], ["export", "a:1"], ["find", "a:1", "a"])
WRITING = (["tag", "a:1", "b:1"], ["rm", "a:1"], ["load", "image.tar"], ["import", "image.tar"])

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def _run(imgfs: Imgfs, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in `folder`, whose messages are lines of their own and never a traceback."""
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))

    def run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        with monkeypatch.context() as within:
            within.chdir(folder)
            done = imgfs(*command, status=None)
        return _with_lines(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


def _run_by(folder: Path, *before: str) -> Run:
    """The same, by a command that is given another to run."""
    environment = os.environ | {
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": os.getcwd(),
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        arguments = [*before, sys.executable, "-m", "imgfs", *command]
        done = subprocess.run(
            arguments, capture_output=True, check=False, text=True, env=environment, cwd=folder
        )
        return _with_lines(arguments, done.returncode, done.stdout, done.stderr)

    return run


def _with_lines(
    arguments: Sequence[str], status: int, output: str, errors: str
) -> "subprocess.CompletedProcess[str]":
    assert all(line.startswith("imgfs: ") for line in errors.splitlines())
    return subprocess.CompletedProcess(arguments, status, output, errors)


def _fill(folder: Path, imgfs: Imgfs) -> None:
    archive = docker_archive(folder / "image.tar", [IMAGE])
    imgfs("load", "-q", archive, "--store", folder / "data/imgfs")


def _check(run: Run, why: str) -> None:
    for command in READING:
        assert run(command).returncode == 0
    assert run(["verify", "-q", "imgfs:"]).returncode == 0
    for command in WRITING:
        done = run(command)
        *_, last = done.stderr.splitlines()
        assert (done.returncode, done.stdout, why in last) == (1, "", True)


def test_on_a_file_system_that_is_read_only(
    imgfs: Imgfs, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(small_disk, imgfs)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    _check(_run(imgfs, small_disk, monkeypatch), "Read-only file system")


def test_as_a_user_who_may_only_read(imgfs: Imgfs, tmp_path: Path) -> None:
    require_root()
    _fill(tmp_path, imgfs)
    user = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    reads = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]  # wherever the checkout lies
    _check(_run_by(tmp_path, require_tool("setpriv"), *user, *reads), "Permission denied")


@pytest.mark.parametrize("command", ["import", "load"])
def test_on_a_disk_that_is_full(
    imgfs: Imgfs, tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    _fill(small_disk, imgfs)
    large = TestImage([layer_tar({"large": os.urandom(8 << 20)})], ["large:1"])
    path = tmp_path / "large.tar"
    if command == "load":
        docker_archive(path, [large])
    else:
        path.write_bytes(large.layers[0])
    run = _run(imgfs, small_disk, monkeypatch)
    done = run([command, str(path)])
    assert (done.returncode, done.stdout) == (1, "")
    assert "No space left on device" in done.stderr.splitlines()[-1]
    assert run(["verify", "-q", "imgfs:"]).returncode == 0
    assert os.listdir(small_disk / "data/imgfs/tmp") == []
