"""Runs imgfs in a terminal, as a person does."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def in_terminal(
    *arguments: str | Path,
    columns: int = 80,
    status: int = 0,
    environment: Mapping[str, str] | None = None,
    output: BinaryIO | None = None,
) -> str:
    """What `imgfs ARGUMENTS` writes to a terminal of so many columns; its standard output may go elsewhere."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    unset = ("COLUMNS", "NO_COLOR", "FORCE_COLOR")
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    command = [sys.executable, "-m", "imgfs", *arguments]
    environment = inherited | {"TERM": "xterm"} | dict(environment or {})
    to = slave if output is None else output
    with subprocess.Popen(command, stdin=slave, stdout=to, stderr=slave, env=environment) as process:
        os.close(slave)
        written = b""
        with open(master, "rb", buffering=0) as file, suppress(OSError):  # EIO at the end
            while chunk := file.read(4096):
                written += chunk
    assert process.returncode == status, written.decode()
    return written.decode().replace("\r\n", "\n")
