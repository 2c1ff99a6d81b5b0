"""Runs the command in a process forked from one that has imported it, as importing takes longer than most commands.

The parent, `python -m tests.forking SOCKET`, has one thread and runs nothing itself; a child has the working directory,
environment and standard streams that the caller gives, and ends as an interpreter of its own does.
"""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import imgfs.cli
from imgfs.cli.main import main

_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "MALLOC", "FAKETIME")
"""What an interpreter or the C library reads when it starts, by the beginning of the variable's name."""


class Forks:
    """Starts commands by way of one parent process; may be used by several threads."""

    def __init__(self, folder: Path) -> None:
        self._path = str(folder / "socket")
        self._environment = dict(os.environ)
        ends_with_us = ("setpriv", "--pdeathsig", "KILL")  # even if we are killed
        command = [*ends_with_us, sys.executable, "-m", "tests.forking", self._path]
        self._parent = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._parent.stdout is not None
        assert self._parent.stdout.readline() == b"ready\n"

    def suit(self, environment: Mapping[str, str]) -> bool:
        """Whether a fork behaves as a new interpreter in this environment would."""
        names = (self._environment.items() ^ environment.items()) if environment else set()
        return not any(name.startswith(_AT_START) for name, _ in names)

    def run(
        self, arguments: Sequence[str], stdin: bytes, seconds: float, user: int | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """The same as `subprocess.run` of the command, with its output captured; root can have it run as `user`."""
        (in_, to), (out, from_out), (err, from_err) = (os.pipe() for _ in range(3))
        request = {
            "arguments": arguments,
            "folder": str(Path.cwd()),
            "environment": dict(os.environ),
            "user": user,
        }
        with socket.socket(socket.AF_UNIX) as connection, ThreadPoolExecutor(3) as pool:
            connection.settimeout(seconds)
            connection.connect(self._path)
            data = json.dumps(request).encode()
            socket.send_fds(connection, [len(data).to_bytes(8, "little")], [in_, from_out, from_err])
            connection.sendall(data)
            for fd in (in_, from_out, from_err):
                os.close(fd)
            pool.submit(_write, to, stdin)
            outputs = [pool.submit(_read, fd) for fd in (out, err)]
            pid = int.from_bytes(connection.recv(8), "little")
            try:
                status = int.from_bytes(connection.recv(8), "little", signed=True)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
            stdout, stderr = (output.result() for output in outputs)
        return subprocess.CompletedProcess(["imgfs", *arguments], status, stdout, stderr)

    def close(self) -> None:
        """End the parent."""
        self._parent.terminate()
        self._parent.communicate()


def _write(fd: int, data: bytes) -> None:
    with open(fd, "wb", buffering=0) as file:
        while data:
            try:
                data = data[file.write(data) :]
            except BrokenPipeError:  # the command ended without reading it
                return


def _read(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


def _serve(path: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that wait for a command are not waited for
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _start(connection)
                return  # in the command's process
            connection.close()


def _start(connection: socket.socket) -> None:
    """Fork the command, and report how it ends. Returns in its process alone."""
    size, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    data = b""
    while len(data) < int.from_bytes(size, "little"):
        data += connection.recv(1 << 20)
    request = json.loads(data)
    pid = os.fork()
    if pid:
        for fd in descriptors:
            os.close(fd)
        connection.sendall(pid.to_bytes(8, "little"))
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        connection.sendall(status.to_bytes(8, "little", signed=True))
        os._exit(0)
    connection.close()
    for number, fd in enumerate(descriptors):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["imgfs", *request["arguments"]]
    if request["user"] is not None:
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])


if __name__ == "__main__":
    for module in Path(imgfs.cli.__path__[0]).glob("*.py"):
        import_module(f"imgfs.cli.{module.stem}")
    for name in ("imgfs.mount", "rich.console", "rich.progress"):
        import_module(name)
    gc.freeze()  # so that no child goes through what was imported, at its end above all
    _serve(sys.argv[1])
    main()
