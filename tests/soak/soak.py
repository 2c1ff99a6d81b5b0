"""A mount under many readers: what they did, what was wrong, and what the daemon took for it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import eventually
from tests.soak.material import draw, images, write_expected
from tests.soak.sources import Make, spread

_SEED = 20


@dataclass(frozen=True)
class Usage:
    """What the daemon has: resident memory in MB, open descriptors, threads."""

    memory: float
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Result:
    """Of all readers together; times of stat in seconds, sorted; what the daemon had at first, at most, in the end."""

    operations: int
    compared: int
    wrong: Sequence[str]
    stats: Sequence[float]
    usage: tuple[Usage, Usage, Usage]
    log: str

    def stat_time(self, share: float) -> float:
        """The time that this share of the stats took at the most."""
        return self.stats[min(int(len(self.stats) * share), len(self.stats) - 1)]


def soak(folder: Path, kinds: Mapping[str, Make], count: int, readers: int, seconds: float) -> Result:
    """Mount `count` images spread over sources of `kinds`, and let `readers` processes read them for so long."""
    expected, top, log = folder / "expected", folder / "mnt", folder / "log"
    stacks = draw(count, _SEED)
    write_expected(expected, stacks)
    top.mkdir()
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    with spread(folder, images(stacks), kinds) as references, log.open("wb") as output:
        command = [sys.executable, "-m", "imgfs", "mount", "-f", *references, str(top)]
        daemon = subprocess.Popen(command, stderr=output, env=environment)
        try:
            assert eventually(lambda: os.path.ismount(top), 60), log.read_text()
            before = _usage(daemon.pid)
            found, busiest = _read(top, expected, readers, seconds, daemon.pid)
            after = _usage(daemon.pid)
        finally:
            daemon.terminate()
            daemon.wait(60)
    assert not os.path.ismount(top)
    operations, compared, wrong, stats = zip(*found, strict=True)
    if daemon.returncode:
        wrong += ([f"the daemon ended with {daemon.returncode}"],)
    return Result(
        sum(operations),
        sum(compared),
        [line for lines in wrong for line in lines],
        sorted(taken for times in stats for taken in times),
        (before, busiest, after),
        log.read_text(),
    )


_Found = tuple[int, int, list[str], list[float]]


def _read(top: Path, expected: Path, readers: int, seconds: float, pid: int) -> tuple[list[_Found], Usage]:
    def start(seed: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.soak.reader", top, expected, seconds, seed]
        return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE)

    running = [start(seed) for seed in range(readers)]
    samples = [_usage(pid)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.2)
        with suppress(FileNotFoundError):  # the daemon has died, as the readers will say
            samples.append(_usage(pid))
    found = [tuple(json.loads(process.communicate()[0])) for process in running]
    busiest = Usage(*(max(values) for values in zip(*map(_values, samples), strict=True)))
    return found, busiest


def _values(usage: Usage) -> tuple[float, int, int]:
    return usage.memory, usage.descriptors, usage.threads


def _usage(pid: int) -> Usage:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    memory, threads = (int(status[name].split()[0]) for name in ("VmRSS", "Threads"))
    return Usage(memory / 1024, len(os.listdir(f"/proc/{pid}/fd")), threads)
