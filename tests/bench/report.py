"""Timing things side by side, and the table that comes of it."""

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.table import Table

K = TypeVar("K")


@dataclass(frozen=True)
class Row:
    """A line of the table; `met` is None for what has no target."""

    what: str
    figure: str
    target: str = ""
    met: bool | None = None


def ratio_row(what: str, ours: float, theirs: float, most: float, unit: str = "s") -> Row:
    """A time compared with another, of which it may take `most` times as much."""
    scale = 1000 if unit == "ms" else 1
    figure = f"{ours * scale:.2f} {unit} to {theirs * scale:.2f} {unit}: {ours / theirs:.2f} times"
    return Row(what, figure, f"at most {most:g} times", ours <= most * theirs)


def limit_row(what: str, value: float, limit: float, unit: str) -> Row:
    """A figure that has a limit of its own."""
    return Row(what, f"{value:.0f} {unit}", f"under {limit:g} {unit}", value < limit)


def print_table(rows: Sequence[Row]) -> None:
    table = Table("what", "median", "target", "")
    for row in rows:
        table.add_row(row.what, row.figure, row.target, {True: "met", False: "MISSED", None: ""}[row.met])
    Console(width=140).print(table)


def alternating(runs: Mapping[K, Callable[[], float]], repeats: int) -> dict[K, float]:
    """The median of what each run answers, all of them taking turns so that a busy machine is fair to them."""
    results: dict[K, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            results[name].append(run())
    return {name: statistics.median(values) for name, values in results.items()}


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def command(*arguments: object, **environment: str) -> Callable[[], float]:
    """Runs a command and answers its seconds; its output is dropped."""

    def run() -> float:
        return seconds(
            lambda: subprocess.run(
                list(map(str, arguments)), stdout=subprocess.DEVNULL, check=True, env=os.environ | environment
            )
        )

    return run


def cores_used(*arguments: object, **environment: str) -> float:
    """How many cores a command and what it starts keep busy, on average."""
    start = time.perf_counter()
    usage = _usage(arguments, environment)
    return (usage.ru_utime + usage.ru_stime) / (time.perf_counter() - start)


def peak_memory(*arguments: object, **environment: str) -> float:
    """The peak memory of a command, in MB."""
    return _usage(arguments, environment).ru_maxrss / 1000 * 1.024


def _usage(arguments: Sequence[object], environment: Mapping[str, str]) -> resource.struct_rusage:
    """What a command and what it starts use."""
    process = subprocess.Popen(
        list(map(str, arguments)), stdout=subprocess.DEVNULL, env=os.environ | environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(map(str, arguments)))
    return usage


def peak_memory_of(pid: int) -> float:
    """The peak memory of a process so far, in MB."""
    with open(f"/proc/{pid}/status") as file:
        (line,) = (line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1000 * 1.024
