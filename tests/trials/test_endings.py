"""A mount ends while it is in use."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.images import TestImage, docker_archive, layer_tar

CONTENT = os.urandom(20_000_000)


@contextmanager
def mounted(tmp_path: Path) -> Iterator[tuple[Path, "subprocess.Popen[bytes]"]]:
    """An image with one large file: where that file is, and the daemon, which runs in front."""
    archive = docker_archive(tmp_path / "image.tar", [TestImage([layer_tar({"data": CONTENT})], ["x:1"])])
    top = tmp_path / "mnt"
    top.mkdir()
    command = [sys.executable, "-m", "imgfs", "mount", "-f", str(archive), str(top)]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as daemon:
        try:
            assert eventually(lambda: os.path.ismount(top))
            yield top / "tags/x:1/rootfs/data", daemon
        finally:
            daemon.kill()
            subprocess.run(["umount", "-l", str(top)], check=False, stderr=subprocess.DEVNULL)


def read_for_ever(path: Path) -> "subprocess.Popen[bytes]":
    """A process that opens and reads a file again and again, bypassing what the kernel keeps, until that fails."""
    loop = (
        "import os, sys, time\n"
        "while True:\n"
        "    fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)\n"
        "    assert os.pread(fd, 1 << 20, 5 << 20)\n"
        "    os.close(fd)\n"
    )
    return subprocess.Popen([sys.executable, "-c", loop, str(path)], stderr=subprocess.PIPE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_mount_that_is_being_read(tmp_path: Path, number: signal.Signals) -> None:
    with mounted(tmp_path) as (path, daemon):
        readers = [read_for_ever(path) for _ in range(4)]
        held = os.open(path, os.O_RDONLY)
        assert os.pread(held, 1000, 0) == CONTENT[:1000]
        daemon.send_signal(number)
        assert daemon.communicate(timeout=20)[1] == b""
        assert daemon.returncode in (0, 128 + number)
        assert not os.path.ismount(tmp_path / "mnt")
        assert os.listdir(tmp_path / "mnt") == []
        for reader in readers:
            _, error = reader.communicate(timeout=20)
            assert b"Error: [Errno" in error  # it ended by itself, with an error of the system
        os.posix_fadvise(held, 0, 0, os.POSIX_FADV_DONTNEED)
        with pytest.raises(OSError, match="not connected"):
            os.pread(held, 1 << 20, 5 << 20)
        with suppress(OSError):  # raised only if the kernel has not learnt before that flushing does nothing
            os.close(held)


def test_what_is_open_goes_on_after_a_lazy_unmount_and_the_daemon_ends_with_its_last_user(
    tmp_path: Path,
) -> None:
    with mounted(tmp_path) as (path, daemon):
        with path.open("rb") as held:
            assert held.read(1000) == CONTENT[:1000]
            subprocess.run(["umount", "-l", str(tmp_path / "mnt")], check=True)
            assert not os.path.ismount(tmp_path / "mnt")
            os.posix_fadvise(held.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert os.pread(held.fileno(), len(CONTENT), 0) == CONTENT
            assert daemon.poll() is None
        assert daemon.communicate(timeout=20)[1] == b""
        assert daemon.returncode == 0
