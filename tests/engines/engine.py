"""Real engines, each with directories of its own and no network, for the length of a test or of all of them."""

import json
import os
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engines.hurting import STAGES, dockerfile
from tests.tools import require_tool


def run(*command: str | Path, stdin: bytes = b"", environment: Mapping[str, str] = {}) -> str:
    """What a command prints. Fails with what it complains of."""
    done = subprocess.run(
        list(map(str, command)),
        input=stdin,
        capture_output=True,
        check=False,
        env=os.environ | environment,
        timeout=600,  # seconds; on a busy machine debootstrap takes some minutes
    )
    assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode().strip()


class Engine(ABC):
    """An engine whose store lies in `root`, read by imgfs as `source`. Tags are given as `name:tag`."""

    driver: str
    root: Path
    source: str

    @abstractmethod
    def build(self, context: Path, text: str, tag: str) -> str:
        """Build an image from a Dockerfile's text, step by step with a parent each; answers its ID's hex."""

    @abstractmethod
    def command(self, *arguments: str | Path) -> str:
        """Run the engine's own command line."""

    @abstractmethod
    def save(self, tag: str, path: Path) -> None:
        """Have the engine write an image as a docker archive."""

    @abstractmethod
    def parents(self) -> dict[str, str]:
        """The parent of each image that has one, as the engine itself says; hex."""

    def load(self, path: Path) -> None:
        """Have the engine load a docker archive."""
        self.command("load", "-i", path)

    def tags(self) -> dict[str, str]:
        """The image of each tag, hex, as the engine itself says."""
        lines = self.command(
            "images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"
        ).splitlines()
        return {
            name: image.removeprefix("sha256:")
            for name, image in map(str.split, lines)
            if "<none>" not in name
        }

    def images(self) -> set[str]:
        """All images, also those in between, hex."""
        return {line.removeprefix("sha256:") for line in self.command("images", "-aq", "--no-trunc").split()}

    def build_family(self, context: Path) -> dict[str, str]:
        """Build the images of `hurting`; answers their IDs by their names in STAGES."""
        return {stage: self.build(context, dockerfile(stage), f"hurting:{stage}") for stage in STAGES}


class Docker(Engine):
    """A dockerd that is running."""

    def __init__(self, folder: Path, driver: str) -> None:
        self.driver = driver
        self.root = folder / "root"
        self.source = f"docker:{self.root}"
        self.client = (require_tool("docker"), "-H", f"unix://{folder / 'd.sock'}")
        self._environment = {"DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(folder / "config")}

    def build(self, context: Path, text: str, tag: str) -> str:
        file = context / f"Dockerfile.{tag.replace(':', '.')}"
        file.write_text(text)
        return self.command("build", "-q", "--network=none", "-f", file, "-t", tag, context)[-64:]

    def command(self, *arguments: str | Path) -> str:
        return run(*self.client, *arguments, environment=self._environment)

    def save(self, tag: str, path: Path) -> None:
        self.command("save", "-o", path, tag)

    def parents(self) -> dict[str, str]:
        described = json.loads(self.command("inspect", *self.images()))
        return {image["Id"][7:]: image["Parent"][7:] for image in described if image["Parent"]}


class Podman(Engine):
    """podman and buildah, which need nothing running."""

    def __init__(self, folder: Path, driver: str) -> None:
        self.driver = driver
        self.root = folder / "g"
        self.source = f"containers-storage:{self.root}"
        self.run_root = folder / "r"
        self.options = ["--root", str(self.root), "--runroot", str(self.run_root), "--storage-driver", driver]

    def build(self, context: Path, text: str, tag: str) -> str:
        file = context / f"Containerfile.{tag.replace(':', '.')}"
        file.write_text(text)
        options = ("--isolation", "chroot", "--layers", "-q", "--format", "docker", "-f", file, "-t", tag)
        return run(require_tool("buildah"), *self.options, "bud", *options, context).splitlines()[-1][-64:]

    def command(self, *arguments: str | Path) -> str:
        return run(require_tool("podman"), *self.options, *arguments)

    def save(self, tag: str, path: Path) -> None:
        path.unlink(missing_ok=True)  # podman does not write over an archive
        self.command("save", "-q", "--format", "docker-archive", "-o", path, tag)

    def parents(self) -> dict[str, str]:
        described = json.loads(self.command("inspect", *self.images()))
        return {
            image["Id"]: image["Parent"].removeprefix("sha256:") for image in described if image["Parent"]
        }


def require_root() -> None:
    """Skip the calling test for an ordinary user, whom engines do not serve; in CI that is a failure."""
    if os.geteuid() and not os.environ.get("CI"):
        pytest.skip("engines want root")


@contextmanager
def running_docker(folder: Path, driver: str) -> Iterator[Docker]:
    """A dockerd with everything it writes in `folder`, stopped at the end."""
    require_root()
    engine = Docker(folder, driver)
    directories = ("--data-root", engine.root, "--exec-root", folder / "exec", "--pidfile", folder / "d.pid")
    command = [require_tool("dockerd"), *directories, "-H", f"unix://{folder / 'd.sock'}"]
    command += ["--storage-driver", driver, "--iptables=false", "--bridge=none"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output)
    try:
        end = time.monotonic() + 60
        while not _answers(engine):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield engine
    finally:
        process.terminate()
        process.wait(60)
        unmount_below(folder)


@contextmanager
def podman(folder: Path, driver: str) -> Iterator[Podman]:
    """A podman with everything it writes in `folder`, which has a short path."""
    require_root()
    try:
        yield Podman(folder, driver)
    finally:
        unmount_below(folder)


def unmount_below(folder: Path) -> None:
    """Unmount whatever an engine left mounted in its directories."""
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted(points, reverse=True):
        if point.startswith(f"{folder}/"):
            subprocess.run(["umount", point], check=False)


def _answers(engine: Docker) -> bool:
    try:
        engine.command("info")
    except AssertionError:
        return False
    return True
