"""A Debian for an engine to run in, with mounts and processes of its own.

All of them end with the machine, and the machine ends with the process that made it, even if that is killed. Its root
directory is that of a Debian with a layer in memory on top, so that nothing changes outside one folder, which is the
same inside and outside. The network is that of this machine.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.tools import require_folder, require_root, require_tool

HOST = "host"
"""The name of the Debian that the tests run in."""

SUITES = tuple(os.environ.get("IMGFS_TEST_SUITES", f"{HOST} trixie").split())
"""The Debians whose engines are tested."""

_ROOTS = Path(__file__).parents[2] / ".engines"

_ENTER = """
cd "$1"
mount -t tmpfs machine /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=.,upperdir=/mnt/upper,workdir=/mnt/work machine /mnt/root
cd /mnt/root
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs machine run
mkdir -p ".$2"
mount --bind "$2" ".$2"
pivot_root . mnt
umount -l /mnt
echo ready
exec cat
"""


class Machine:
    """A machine that is running. Its Debian is one of SUITES."""

    def __init__(self, suite: str, process: Path) -> None:
        self.suite = suite
        self._process = process
        namespaces = process / "ns"
        self._enter = (
            *("nsenter", f"--mount={namespaces / 'mnt'}", f"--pid={namespaces / 'pid_for_children'}"),
            "--",
        )

    def seen(self, path: Path) -> Path:
        """Where a path inside is seen from outside, with what is mounted there."""
        return Path(f"{self._process}/root{path}")

    def line(self, tool: str, *arguments: str | Path) -> list[str]:
        """The command line that runs a tool inside."""
        if self.suite == HOST:
            require_tool(tool)
        return [*self._enter, tool, *map(str, arguments)]

    @contextmanager
    def running(self, log: Path, tool: str, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run a tool inside for the length of the `with`; then it is asked to end, and waited for."""
        number = log.with_suffix(".number")
        started = self.line("sh", "-ec", 'echo $$ > "$0"; exec "$@"', number, tool, *arguments)
        with log.open("wb") as output:
            process = subprocess.Popen(started, stdout=output, stderr=output)
        try:
            yield process
        finally:
            if process.poll() is None:
                subprocess.run(self.line("sh", "-c", 'kill "$(cat "$0")"', number), check=True)
            process.wait(60)


@contextmanager
def machine(suite: str = HOST, folder: str | Path | None = None) -> Iterator[Machine]:
    """A machine that runs as long as the `with`; `folder` is the same outside, by default that of temporary files."""
    require_root()
    root = Path("/") if suite == HOST else require_folder(_ROOTS / suite)
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", _ENTER, "sh"]
    command += [str(root), str(folder or tempfile.gettempdir())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n", f"a machine of {root} did not start"
            yield Machine(suite, Path(f"/proc/{process.pid}"))
        finally:
            process.stdin.close()
            process.wait(60)
