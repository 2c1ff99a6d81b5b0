"""Real engines, each with directories of its own and no network, for the length of a test or of all of them."""

import json
import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import eventually
from tests.engines.hurting import STAGES, dockerfile
from tests.engines.machine import HOST, Machine, machine


def run(*command: str | Path, stdin: bytes = b"", environment: Mapping[str, str] = {}) -> str:
    """What a command prints. Fails with what it complains of."""
    done = subprocess.run(
        list(map(str, command)),
        input=stdin,
        capture_output=True,
        check=False,
        env=os.environ | environment,
        timeout=600,  # seconds; on a busy machine mmdebstrap takes some minutes
    )
    assert done.returncode == 0, f"{command}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode().strip()


class Engine(ABC):
    """An engine whose store lies in `root`, read by imgfs as `source`. Tags are given as `name:tag`."""

    driver: str
    inside: Machine
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

    def __init__(self, inside: Machine, folder: Path, driver: str) -> None:
        self.inside = inside
        self.driver = driver
        self.root = folder / "root"
        self.source = f"docker:{self.root}"
        self.client = inside.line("docker", "-H", f"unix://{folder / 'd.sock'}")
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
    """podman and buildah, which need nothing running.

    With `conf`, lines of storage.conf that follow the usual ones, the store is where that file says, for imgfs too.
    """

    def __init__(self, inside: Machine, folder: Path, driver: str, conf: str | None = None) -> None:
        self.driver = driver
        self.root = folder / "g"
        self.source = f"containers-storage:{self.root}"
        self.inside = inside
        self.conf = folder / "storage.conf"
        self._before: Sequence[str | Path] = ()
        self._options: Sequence[str | Path] = (
            *("--root", self.root, "--runroot", folder / "r"),
            *("--storage-driver", driver),
        )
        if conf is not None:
            usual = f'driver = "{driver}"\ngraphroot = "{self.root}"\nrunroot = "{folder / "r"}"\n'
            self.conf.write_text(f"[storage]\n{usual}{conf}")
            self._before, self._options = ("env", f"CONTAINERS_STORAGE_CONF={self.conf}"), ()
            self.source = "containers-storage:"

    def build(self, context: Path, text: str, tag: str) -> str:
        file = context / f"Containerfile.{tag.replace(':', '.')}"
        file.write_text(text)
        # without limits buildah asks for more than a process of this machine may have
        options = [
            "--isolation=chroot",
            "--ulimit=nofile=1024:1024",
            "--ulimit=nproc=4096:4096",
            "--layers",
            "-q",
        ]
        options += ["--format=docker", "-f", str(file), "-t", tag]
        built = run(*self._line("buildah", "bud", *options, context))
        return built.splitlines()[-1][-64:]

    def command(self, *arguments: str | Path) -> str:
        return run(*self._line("podman", *arguments))

    def mounted(self, image: str) -> Path:
        """Where an image is mounted by now, as the kernel shows it."""
        return self.inside.seen(Path(self.command("image", "mount", image)))

    def _line(self, tool: str, *arguments: str | Path) -> list[str]:
        return self.inside.line(*self._before, tool, *self._options, *arguments)  # type: ignore[arg-type]

    def save(self, tag: str, path: Path) -> None:
        path.unlink(missing_ok=True)  # podman does not write over an archive
        self.command("save", "-q", "--format", "docker-archive", "-o", path, tag)

    def parents(self) -> dict[str, str]:
        described = json.loads(self.command("inspect", *self.images()))
        return {
            image["Id"]: image["Parent"].removeprefix("sha256:") for image in described if image["Parent"]
        }


@contextmanager
def running_docker(folder: Path, driver: str, suite: str = HOST) -> Iterator[Docker]:
    """A dockerd with everything it writes in `folder`, stopped at the end."""
    with machine(suite) as inside, dockerd(inside, folder, driver) as engine:
        yield engine


@contextmanager
def dockerd(inside: Machine, folder: Path, driver: str, *options: str | Path) -> Iterator[Docker]:
    """The same in a machine that is running, with more options."""
    engine = Docker(inside, folder, driver)
    # in the machine's own /run, as paths of sockets must be short
    running = f"/run/{folder.name}"
    directories = ("--data-root", engine.root, "--exec-root", running, "--pidfile", folder / "d.pid")
    usual = (*directories, "--iptables=false", "--bridge=none", "--storage-driver", driver)
    log = folder / "log"
    with inside.running(log, "dockerd", "-H", f"unix://{folder / 'd.sock'}", *usual, *options) as process:
        assert eventually(lambda: process.poll() is not None or _is_up(engine), 60), log.read_text()
        assert process.poll() is None, log.read_text()
        yield engine


@contextmanager
def podman(folder: Path, driver: str, suite: str = HOST, shared: Path | None = None) -> Iterator[Podman]:
    """A podman with everything it writes in `folder`, which has a short path; `shared` is the machine's `folder`."""
    with machine(suite, shared) as inside:
        yield Podman(inside, folder, driver)


def _is_up(engine: Docker) -> bool:
    try:
        engine.command("info")
    except AssertionError:
        return False
    return True
