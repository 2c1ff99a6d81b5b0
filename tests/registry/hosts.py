"""Hosts of their own for tests: network namespaces with a cable between them, on one machine with one file system."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.tools import require_root, require_tool


@dataclass(frozen=True)
class TestHost:
    """A host with an `address`; `namespace` is its network namespace. What it keeps lies in `folder`."""

    __test__ = False

    namespace: str
    address: str
    folder: Path

    def line(self, *command: str | Path) -> list[str]:
        """The command line that runs a command on this host."""
        # `ip netns exec` would hide mounts from other processes
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *map(str, command)]

    def imgfs(self, *arguments: str | Path) -> bytes:
        """Run imgfs on this host, with data and a cache of its own; its standard output."""
        places = {"XDG_DATA_HOME": str(self.folder / "data"), "XDG_CACHE_HOME": str(self.folder / "cache")}
        done = subprocess.run(
            self.line(sys.executable, "-m", "imgfs", *arguments),
            env=os.environ | places,
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@contextmanager
def connected_hosts(folder: Path) -> Iterator[tuple[TestHost, TestHost]]:
    """Two hosts that reach each other, and nothing else."""
    require_root()
    ip = require_tool("ip")

    def run(*arguments: str) -> None:
        subprocess.run([ip, *arguments], check=True)

    hosts = [
        TestHost(f"imgfs-{os.getpid()}-{number}", f"10.77.0.{number}", folder / f"host-{number}")
        for number in (1, 2)
    ]
    with ExitStack() as stack:
        for host in hosts:
            host.folder.mkdir()
            run("netns", "add", host.namespace)
            stack.callback(run, "netns", "del", host.namespace)
        one, two = hosts
        cable = ("link", "add", "cable", "netns", one.namespace, "type", "veth")
        run(*cable, "peer", "name", "cable", "netns", two.namespace)
        for host in hosts:
            run("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "cable")
            run("-n", host.namespace, "link", "set", "lo", "up")
            run("-n", host.namespace, "link", "set", "cable", "up")
        yield one, two
