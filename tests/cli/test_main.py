"""What holds for every command: standard streams, signals, exit statuses."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.conftest import Imgfs, eventually
from tests.images import TestImage

COMMAND = f"{sys.executable} -m imgfs"


@pytest.mark.parametrize("arguments", ["ls", "tree", "inspect child", "verify", "find child x", "nonesuch"])
def test_closed_standard_streams_are_no_obstacle(environment: None, archive: Path, arguments: str) -> None:
    name, *rest = arguments.split()
    source = f"--source {archive}" if name in ("inspect", "find") else archive
    line = f"{COMMAND} {name} {source} {' '.join(rest).replace('child', 'example/child')}"
    open_ = subprocess.run(line, shell=True, capture_output=True, check=False)
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(f"{line} {closed}", shell=True, capture_output=True, check=False)
        assert done.returncode == open_.returncode, closed
        assert done.stdout == (open_.stdout if closed in ("<&-", "2>&-") else b""), closed
        assert b"internal error" not in done.stderr


@pytest.mark.parametrize("form", ["rootfs", "verbatim", "flat"])
def test_a_tar_that_was_to_go_to_a_closed_standard_output_is_an_error(
    environment: None, archive: Path, form: str
) -> None:
    """As of cat; what the other commands print is for a reader who need not be there."""
    line = f"{COMMAND} export --tar {form} --source {archive} example/child"
    done = subprocess.run(f"{line} >&-", shell=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"imgfs: standard output: Bad file descriptor\n")
    subprocess.run(f"{line} -o {archive}.exported >&-", shell=True, check=True)


def test_mounting_works_with_all_of_them_closed(imgfs: Imgfs, archive: Path, tmp_path: Path) -> None:
    top = tmp_path / "mnt"
    top.mkdir()
    subprocess.run(f"{COMMAND} mount {archive} {top} <&- >&- 2>&-", shell=True, check=True)
    try:
        assert len(os.listdir(top / "images")) == 3
    finally:
        imgfs("umount", top)


@pytest.mark.parametrize(
    "arguments", ["ls", "tree", "verify", "ls --json", "export example/base:1 --source", "--help"]
)
def test_output_that_nobody_reads_is_the_status_of_a_broken_pipe(
    environment: None, archive: Path, arguments: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*COMMAND.split(), *arguments.split(), *([] if arguments == "--help" else [str(archive)])]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_who_is_told_to_stop_leaves_nothing_half_done(
    environment: None, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    pipe = tmp_path / "layer"
    os.mkfifo(pipe)
    staging = tmp_path / "data/imgfs/tmp"
    with subprocess.Popen([*COMMAND.split(), "import", str(pipe)], stdin=subprocess.DEVNULL) as process:
        with open(pipe, "wb") as writing:
            writing.write(bytes(1 << 20))
            writing.flush()
            assert eventually(lambda: _unread(writing) == 0 and any(staging.glob("*/*")))
            time.sleep(0.1)  # now it waits for more
            process.send_signal(number)
            assert process.wait(60) == status
    assert list(staging.iterdir()) == []


def _unread(pipe: BinaryIO) -> int:
    """How many bytes wait in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize(
    "arguments",
    [
        lambda source: ["which", "--source", source, "nonesuch", "etc"],
        lambda source: ["diff", "--source", source, "example/base:1", "nonesuch"],
        lambda source: ["verify", source, "nonesuch"],
        lambda source: ["verify", f"{source}.nonesuch"],
    ],
)
def test_where_1_is_an_answer_an_error_is_2(
    imgfs: Imgfs, archive: Path, arguments: Callable[[str], list[str]]
) -> None:
    assert b"nonesuch" in imgfs(*arguments(str(archive)), status=2).stderr


def test_what_cannot_be_written_is_an_error(
    environment: None, archive: Path, images: list[TestImage]
) -> None:
    with open("/dev/full", "wb") as full:
        command = [*COMMAND.split(), "ls", str(archive)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"imgfs: No space left on device\n")
