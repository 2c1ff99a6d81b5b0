"""What the command says of itself."""

import subprocess
import sys

import pytest

from imgfs.cli.main import imgfs


@pytest.mark.parametrize("command", ["", *sorted(imgfs.commands)])
def test_help_is_readable_and_every_command_has_it(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "imgfs", *command.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"Usage: imgfs {command}".rstrip())
    assert len(done.stdout.splitlines()) > 4
    assert "\\" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 110


def test_lists_in_help_keep_their_lines() -> None:
    for arguments, line in (
        ((), "    oci:PATH[:TAG]         an OCI image layout"),
        (("mount",), "    umask=OCTAL             permissions to take away from everything"),
    ):
        command = [sys.executable, "-m", "imgfs", *arguments, "--help"]
        assert line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(
    "arguments", [["nonesuch"], ["--nonsense"], ["mount"], ["mount", "x"], ["ls", "--nonsense"], ["rm"]]
)
def test_wrong_usage_is_status_2_and_no_traceback(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "imgfs", *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert "Error: " in done.stderr
