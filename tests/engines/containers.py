"""Engines of each kind that make containers of one image, whose root directories are seen while they are mounted."""

import tarfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.engines.containerd import Containerd, archives, running_containerd
from tests.engines.engine import Engine, podman, running_docker
from tests.engines.hurting import context
from tests.engines.machine import machine
from tests.engines.test_docker_places import alone
from tests.images import TestImage, docker_archive
from tests.tools import require_tool
from tests.tree.stacks import Entry, tar

NAME = "changed:1"
"""What the image is called, but for its registry."""

PROGRAM = ("/bin/busybox", "sleep", "100000")
"""What a container runs."""

_DOCKERFILE = f"""
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "cd /; for d in . dir dir/e; do busybox mkdir -p $d; echo a >$d/a; echo >$d/b; done"]
RUN ["/bin/busybox", "sh", "-c", "cd /; busybox rm dir/a; busybox ln a new; busybox ln -s a e; busybox mkfifo dir/new"]
CMD [{", ".join(f'"{word}"' for word in PROGRAM)}]
"""


class Containers(ABC):
    """A running engine; what imgfs reads is in `root`, and called `scheme` and a path.

    `image_name` is what the engine calls the image.
    """

    scheme: str
    root: Path
    image_name = NAME

    @property
    def source(self) -> str:
        return f"{self.scheme}:{self.root}"

    @abstractmethod
    def create(self, name: str) -> str:
        """Make a container whose root directory is mounted; returns its ID."""

    @abstractmethod
    def merged(self, container: str) -> Path:
        """The root directory of a container by its ID, as the kernel shows it."""

    @abstractmethod
    def stop(self, container: str) -> None:
        """Have a container end, if it runs, and its root directory unmounted."""

    @abstractmethod
    def bring(self, image: TestImage) -> None:
        """Have the engine load an image."""

    def export(self, container: str, path: Path) -> bool:
        """Have the engine write a container's files to a tar; returns whether it can."""
        return False

    def commit(self, container: str, name: str) -> bool:
        """Have the engine make an image of a container; returns whether it does so from its own layer as it lies."""
        return False

    def changes(self, container: str) -> set[str] | None:
        """The lines in which the engine lists what a container changed, None if it does not."""
        return None


class OfEngine(Containers):
    """An engine with docker's command line, with an image built by itself."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.root = engine, engine.root
        engine.build(_context(folder), _DOCKERFILE, NAME)

    def bring(self, image: TestImage) -> None:
        self.engine.load(docker_archive(self.root.parent / "brought.tar", [image]))

    def export(self, container: str, path: Path) -> bool:
        self.engine.command("export", "-o", path, container)
        return True

    def commit(self, container: str, name: str) -> bool:
        self.engine.command("commit", container, name)
        return self.engine.driver in ("overlay", "overlay2")

    def changes(self, container: str) -> set[str] | None:
        return set(self.engine.command("diff", container).splitlines())


class OfDocker(OfEngine):
    """Docker with either kind of store."""

    scheme = "docker"

    def create(self, name: str) -> str:
        return self.engine.command("run", "-d", "--network=none", "--name", name, NAME)

    def merged(self, container: str) -> Path:
        path = self.engine.command("inspect", "-f", "{{.GraphDriver.Data.MergedDir}}", container)
        if not path.startswith("/"):  # with containerd, Docker does not say
            path = str(self.root / "rootfs/overlayfs" / container)
        return self.engine.inside.seen(Path(path))

    def stop(self, container: str) -> None:
        self.engine.command("kill", container)
        self.engine.command("wait", container)


class OfPodman(OfEngine):
    """Podman, whose containers run, each with its root file system mounted for others, too."""

    scheme = "containers-storage"
    image_name = f"localhost/{NAME}"

    def create(self, name: str) -> str:
        return self.run("-d", "--name", name, NAME)

    def run(self, *arguments: str) -> str:
        """Run a container, as this machine can."""
        limits = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096")
        return self.engine.command(
            "--cgroup-manager=cgroupfs", "--runtime=runc", "run", "--network=none", *limits, *arguments
        )

    def merged(self, container: str) -> Path:
        return self.engine.inside.seen(Path(self.engine.command("mount", container)))

    def stop(self, container: str) -> None:
        self.engine.command("umount", "--force", container)
        self.engine.command("--cgroup-manager=cgroupfs", "kill", container)
        self.engine.command("wait", container)

    def changes(self, container: str) -> set[str] | None:
        try:
            return super().changes(container)
        except (
            AssertionError
        ) as error:  # where a file has taken the place of a directory, Podman may fail itself
            if "not a directory" not in str(error):
                raise
            return None


class OfContainerd(Containers):
    """containerd with its own client."""

    scheme = "containerd"
    image_name = f"example.com/{NAME}"

    def __init__(self, engine: Containerd, folder: Path) -> None:
        self.engine, self.root, self._folder = engine, engine.root, folder
        for archive in archives(folder, [_image()]):
            engine.ctr("images", "import", archive)

    def bring(self, image: TestImage) -> None:
        for archive in archives(self._folder / "brought", [image]):
            self.engine.ctr("images", "import", archive)

    def create(self, name: str) -> str:
        self.engine.ctr(
            "run",
            "-d",
            "--label",
            f"nerdctl/name={name}",
            "--net-host",
            self.image_name,
            f"id-{name}",
            *PROGRAM,
        )
        return f"id-{name}"

    def merged(self, container: str) -> Path:
        tasks = self._folder / "state/io.containerd.runtime.v2.task/default"
        return self.engine.inside.seen(tasks / container / "rootfs")

    def stop(self, container: str) -> None:
        self.engine.ctr("task", "delete", "--force", container)


@contextmanager
def _docker(folder: Path, suite: str) -> Iterator[Containers]:
    with running_docker(folder, "overlay2", suite) as engine:
        yield OfDocker(engine, folder)


@contextmanager
def _docker_containerd(folder: Path, suite: str) -> Iterator[Containers]:
    with machine(suite) as inside, alone(inside, folder) as engine:
        yield OfDocker(engine, folder)


@contextmanager
def _podman(folder: Path, suite: str) -> Iterator[Containers]:
    with podman(folder, "overlay", suite) as engine:
        yield OfPodman(engine, folder)


@contextmanager
def _podman_vfs(folder: Path, suite: str) -> Iterator[Containers]:
    with podman(folder, "vfs", suite) as engine:
        yield OfPodman(engine, folder)


@contextmanager
def _containerd(folder: Path, suite: str) -> Iterator[Containers]:
    with running_containerd(folder, suite) as engine:
        yield OfContainerd(engine, folder)


STARTS: Mapping[str, Callable[[Path, str], AbstractContextManager[Containers]]] = {
    "docker": _docker,
    "docker-containerd": _docker_containerd,
    "podman": _podman,
    "podman-vfs": _podman_vfs,
    "containerd": _containerd,
}
"""How each kind is started, with all that it writes in a folder, in a Debian."""


def _context(folder: Path) -> Path:
    made = context(folder / "context")
    (made / "busybox").write_bytes(Path(require_tool("busybox")).read_bytes())
    return made


def _image() -> TestImage:
    """Layers as those that the Dockerfile makes."""
    file, directory = tarfile.REGTYPE, tarfile.DIRTYPE
    busybox = Path(require_tool("busybox")).read_bytes().decode("utf-8", "surrogateescape")
    below = [Entry("bin", directory, mode=0o755), Entry("bin/busybox", file, busybox, mode=0o755)]
    for folder in ("", "dir/", "dir/e/"):
        below += [Entry(folder, directory, mode=0o755)] if folder else []
        below += [Entry(f"{folder}a", file, "a\n"), Entry(f"{folder}b", file, "\n")]
    above = [
        Entry("a", file, "a\n"),
        Entry("dir", directory, mode=0o755),
        Entry("dir/.wh.a", file),
        Entry("dir/new", tarfile.FIFOTYPE),
        Entry("e", tarfile.SYMTYPE, "a"),
        Entry("new", tarfile.LNKTYPE, "a"),
    ]
    return TestImage([tar(below), tar(above)], [OfContainerd.image_name])
