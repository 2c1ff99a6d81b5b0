"""The machines that engines run in."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.engines.machine import machine

HELD = """
import sys
from pathlib import Path
from tests.engines.machine import machine
with machine(sys.argv[1]) as inside, inside.running(Path(sys.argv[2]), "sleep", sys.argv[3]):
    input()
"""
SECONDS = "98765.4321"  # a number by which to find the process


def _sleeps() -> bool:
    commands = [path.parent / "cmdline" for path in Path("/proc").glob("[0-9]*/exe")]
    return any(SECONDS.encode() in _read(path).split(b"\0")[:2] for path in commands)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""  # the process has ended


def test_nothing_runs_or_is_mounted_after_a_test_run_is_killed(suite: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HELD, suite, str(tmp_path / "log"), SECONDS]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as held:
        try:
            assert eventually(_sleeps)
            assert "machine" not in {
                line.split()[0] for line in Path("/proc/self/mounts").read_text().splitlines()
            }
        finally:
            os.kill(held.pid, signal.SIGKILL)
    assert eventually(lambda: not _sleeps())


def test_what_is_written_inside_stays_there_but_for_temporary_files(suite: str, tmp_path: Path) -> None:
    with machine(suite) as inside:
        for path in (Path("/etc/imgfs-written-inside"), tmp_path / "imgfs-written-inside"):
            subprocess.run(inside.line("mkdir", path), check=True)
    assert (tmp_path / "imgfs-written-inside").is_dir()
    assert not Path("/etc/imgfs-written-inside").exists()
    with machine(suite) as inside, pytest.raises(subprocess.CalledProcessError):
        subprocess.run(inside.line("ls", "/etc/imgfs-written-inside"), check=True)
