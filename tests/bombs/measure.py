"""Running a command as a process of its own, and what it took: its peak of memory and its time on the processor."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# a small process starts the command: the peak of a child begins with that of the process that it is forked from
_RUN = """
import json, os, resource, sys
report, seconds, *command = sys.argv[1:]
child = os.fork()
if not child:
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    os.execvp(command[0], command)
_, status, usage = os.wait4(child, 0)
with open(report, "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), usage.ru_maxrss << 10, usage.ru_utime + usage.ru_stime], file)
"""


@dataclass(frozen=True)
class Measured:
    """`status` as subprocess gives it, `peak` in bytes, `cpu` in seconds, `errors` what it wrote to standard error."""

    status: int
    peak: int
    cpu: float
    errors: str


class Running:
    """A command that runs, its output thrown away; stopped after so many seconds of processor time."""

    def __init__(
        self, command: Sequence[str], folder: str, environment: Mapping[str, str], seconds: int
    ) -> None:
        self._report = os.path.join(folder, f"usage-{os.urandom(4).hex()}")
        self._errors = os.path.join(folder, "errors")
        with open(self._errors, "w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _RUN, self._report, str(seconds), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
            )

    def wait(self, timeout: float | None = None) -> Measured:
        """What it took, once it has ended."""
        self.process.wait(timeout)
        with open(self._report) as report:
            status, peak, cpu = json.load(report)
        os.unlink(self._report)
        with open(self._errors, errors="replace") as errors:
            return Measured(status, peak, cpu, errors.read(4096))


def measured(command: Sequence[str], folder: str, environment: Mapping[str, str], seconds: int) -> Measured:
    """What a command takes from beginning to end; `folder` is for files of the measurement."""
    return Running(command, folder, environment, seconds).wait()
