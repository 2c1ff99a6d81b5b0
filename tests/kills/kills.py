"""Commands that write, killed with SIGKILL at a random instant, and what the store and the cache are like afterwards.

After each kill the store opens, `verify` finds nothing bad, and what a command reported to be done is there. After the
next command that ends by itself nothing is left of those that were killed.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.images import TestImage, docker_archive, layer_tar, oci_layout

_LONGEST = 0.2  # seconds more than a command takes by itself


class Kills:
    """A store and a cache in `folder` that commands are killed over; `wrong` says what was not as it should be."""

    def __init__(self, folder: Path, seed: int) -> None:
        rng = self._rng = random.Random(seed)
        shared = layer_tar({"shared": rng.randbytes(2_000_000)})
        self._images = [
            TestImage([shared, layer_tar({f"own-{n}": rng.randbytes(500_000)})], [f"kills/{n}:1"])
            for n in range(3)
        ]
        self._folder = folder
        self._store = folder / "store"
        self._archive = docker_archive(folder / "images.tar", self._images)
        self._layout = oci_layout(folder / "layout", self._images)
        self._new = folder / "new"
        self._new.mkdir()
        self._top = folder / "top"
        self._top.mkdir()
        self._seed = seed
        self._times: dict[str, float] = {}
        self.hits = 0
        self.wrong: list[str] = []
        self._finish(["load", "-q", str(self._archive), "--store", str(self._store)])

    def one(self, number: int) -> None:
        """Kill one command, and look at what is left."""
        commands: Sequence[Callable[[], list[str]]] = (
            self._load,
            self._import,
            self._tag,
            self._rm,
            self._index,
        )
        if number % 6 == 5:
            self._kill_mount()
        else:
            command = commands[number % 6]()
            self._kill(command)
        self._check(f"seed {self._seed}, kill {number}")

    def end(self) -> None:
        """Let commands end by themselves, after which nothing may be left of those that did not."""
        self._finish([*self._load(), "-q"])
        self._finish(["index", "--json", str(self._layout)])
        self._finish(["cache", "prune"])
        left = [*(self._store / "tmp").iterdir(), *(self._folder / "cache").rglob("partial-*")]
        self.wrong += [f"{path} is left" for path in left]
        names = {name for image in self._images for name in image.tags}
        missing = names - self._names()
        self.wrong += [f"{name} is missing at the end" for name in sorted(missing)]

    def _load(self) -> list[str]:
        return ["load", str(self._archive), "--store", str(self._store)]

    def _import(self) -> list[str]:
        (self._new / "file").write_bytes(self._rng.randbytes(300_000))
        return ["import", str(self._new), "--store", str(self._store), "--tag", "kills/new:1"]

    def _tag(self) -> list[str]:
        self._finish([*self._load(), "-q"])
        return ["tag", "kills/0:1", f"kills/tag:{self._rng.randrange(4)}", "--store", str(self._store)]

    def _rm(self) -> list[str]:
        self._finish([*self._load(), "-q"])
        return ["rm", "--force", "kills/2:1", "--store", str(self._store)]

    def _index(self) -> list[str]:
        self._finish(["cache", "clear"])
        return ["index", "--json", str(self._layout)]

    def _kill(self, command: list[str]) -> None:
        """Kill a command somewhere between its start and its usual end; hold it to what it said to have done."""
        before = self._names()
        usual = self._times.get(command[0], 1.0)
        started = time.monotonic()
        with self._start(command) as process:
            try:
                output, _ = process.communicate(timeout=self._rng.uniform(0, usual + _LONGEST))
                self._times[command[0]] = time.monotonic() - started
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                output, _ = process.communicate()
                self.hits += 1
        self._hold(command[0], before, output.decode())

    def _hold(self, command: str, before: set[str], output: str) -> None:
        after = self._names()
        prefix = "Loaded image: " if command == "load" else "Untagged: "
        for line in output.splitlines():
            name = line.removeprefix(prefix)
            if line.startswith(prefix) and (name in after) != (command == "load"):
                self.wrong.append(f"{command} said {line!r}, which is not so")
        lost = before - after - ({"kills/2:1"} if command == "rm" else set())
        self.wrong += [f"{command} lost {name}" for name in sorted(lost)]

    def _kill_mount(self) -> None:
        """Kill a mount while it builds indexes."""
        self._finish(["cache", "clear"])
        with self._start(["mount", "-f", str(self._layout), str(self._top)]) as daemon:
            while daemon.poll() is None and not os.path.ismount(self._top):
                time.sleep(0.01)
            reading = subprocess.Popen(
                ["tar", "cf", "/dev/null", "-C", self._top, "images"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            time.sleep(self._rng.uniform(0, 0.5))
            daemon.send_signal(signal.SIGKILL)
            self.hits += 1
            reading.wait()
        subprocess.run(["fusermount3", "-u", self._top], check=False, stderr=subprocess.DEVNULL)

    def _check(self, after: str) -> None:
        for source in (f"imgfs:{self._store}", str(self._layout)):
            done = self._run(["verify", "-q", source])
            if done.returncode or done.stdout or done.stderr:
                self.wrong.append(f"{after}: {(done.stdout + done.stderr).decode()}")

    def _names(self) -> set[str]:
        done = self._run(["ls", "--json", f"imgfs:{self._store}"])
        if done.returncode:
            self.wrong.append(f"ls: {done.stderr.decode()}")
            return set()
        return {name for row in json.loads(done.stdout) for name in row["tags"]}

    def _finish(self, command: list[str]) -> None:
        started = time.monotonic()
        done = self._run(command)
        self._times[command[0]] = time.monotonic() - started
        if done.returncode or done.stderr:
            self.wrong.append(f"{' '.join(command)}: {done.returncode} {done.stderr.decode()}")

    def _run(self, command: list[str]) -> "subprocess.CompletedProcess[bytes]":
        arguments = [sys.executable, "-m", "imgfs", *command]
        return subprocess.run(arguments, capture_output=True, check=False, env=self._environment)

    def _start(self, command: list[str]) -> "subprocess.Popen[bytes]":
        arguments = [sys.executable, "-m", "imgfs", *command]
        return subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self._environment
        )

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | {"XDG_CACHE_HOME": str(self._folder / "cache")}
