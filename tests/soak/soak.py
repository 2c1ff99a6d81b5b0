"""Two mounts under many readers: what they did, what was wrong, and what the daemons took for it."""

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

Daemon = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Usage:
    """What a daemon has, the one that has more: resident memory in MB, open descriptors, threads."""

    memory: float
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Result:
    """Of all readers together; times of stat in seconds, sorted; what daemons had at first, at most, in the end."""

    operations: int
    compared: int
    wrong: Sequence[str]
    stats: Sequence[float]
    usage: tuple[Usage, Usage, Usage]
    log: str

    def stat_time(self, share: float) -> float:
        """The time that this share of the stats took at the most."""
        return self.stats[min(int(len(self.stats) * share), len(self.stats) - 1)]


def soak(
    folder: Path, kinds: Mapping[str, Make], count: int, readers: int, seconds: float, cache_size: str = "8G"
) -> Result:
    """Mount `count` images spread over sources of `kinds`, and let `readers` processes read them for so long.

    Two daemons mount the same, with one cache between them, and each reader uses one of them.
    """
    expected, log = folder / "expected", folder / "log"
    stacks = draw(count, _SEED)
    write_expected(expected, stacks)
    tops = [folder / "mnt-0", folder / "mnt-1"]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    with spread(folder, images(stacks), kinds) as references, log.open("ab") as output:
        command = [sys.executable, "-m", "imgfs", "mount", "-f", "--cache-size", cache_size, *references]
        daemons = []
        try:
            for top in tops:
                top.mkdir()
                daemons.append(subprocess.Popen([*command, str(top)], stderr=output, env=environment))
                assert eventually(lambda: os.path.ismount(tops[len(daemons) - 1]), 60), log.read_text()
            before = _usage(daemons)
            found, busiest = _read(tops, expected, readers, seconds, daemons)
            after = _usage(daemons)
        finally:
            for daemon in daemons:
                daemon.terminate()
                daemon.wait(60)
    assert not any(map(os.path.ismount, tops))
    operations, compared, wrong, stats = zip(*found, strict=True)
    ended = [f"a daemon ended with {daemon.returncode}" for daemon in daemons if daemon.returncode]
    return Result(
        sum(operations),
        sum(compared),
        [*ended, *(line for lines in wrong for line in lines)],
        sorted(taken for times in stats for taken in times),
        (before, busiest, after),
        log.read_text(),
    )


_Found = tuple[int, int, list[str], list[float]]


def _read(
    tops: Sequence[Path], expected: Path, readers: int, seconds: float, daemons: Sequence[Daemon]
) -> tuple[list[_Found], Usage]:
    def start(seed: int) -> Daemon:
        top = tops[seed % len(tops)]
        command = [sys.executable, "-m", "tests.soak.reader", top, expected, seconds, seed]
        return subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE)

    running = [start(seed) for seed in range(readers)]
    samples = [_usage(daemons)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.2)
        with suppress(FileNotFoundError):  # a daemon has died, as the readers will say
            samples.append(_usage(daemons))
    found = [tuple(json.loads(process.communicate()[0])) for process in running]
    return found, _most(samples)


def _usage(daemons: Sequence[Daemon]) -> Usage:
    return _most([_usage_of(daemon.pid) for daemon in daemons])


def _most(usages: Sequence[Usage]) -> Usage:
    return Usage(*(max(values) for values in zip(*map(_values, usages), strict=True)))


def _values(usage: Usage) -> tuple[float, int, int]:
    return usage.memory, usage.descriptors, usage.threads


def _usage_of(pid: int) -> Usage:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    memory, threads = (int(status[name].split()[0]) for name in ("VmRSS", "Threads"))
    return Usage(memory / 1024, len(os.listdir(f"/proc/{pid}/fd")), threads)
