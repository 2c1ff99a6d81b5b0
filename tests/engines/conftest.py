"""Engines of every kind with the family of `hurting` in their stores, built once for all tests."""

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.engine import Engine, podman, running_docker
from tests.engines.hurting import context
from tests.engines.machine import HOST, SUITES

# Debian 12 and 13 have no mkcomposefs, which Podman needs for that
collect_ignore = [] if set(SUITES) - {HOST, "trixie"} else ["test_composefs.py"]


@dataclass(frozen=True)
class Built:
    """An engine and the IDs, in hex, of the images built with it, by their names in `hurting.STAGES`."""

    engine: Engine
    family: Mapping[str, str]


with_one_suite = pytest.mark.parametrize("suite", SUITES[:1], indirect=True)
"""For tests of what is the same whatever the engine's version."""

KINDS = ("docker-overlay2", "docker-vfs", "podman-overlay", "podman-vfs")


class Engines:
    """Engines by kind, each started when it is first asked for."""

    def __init__(self, folder: Path, suite: str) -> None:
        self._folder = folder
        self._suite = suite
        self._stack = ExitStack()
        self._built: dict[str, Built] = {}

    def __getitem__(self, kind: str) -> Built:
        if kind not in self._built:
            name, driver = kind.split("-")
            folder = self._folder / kind
            folder.mkdir()
            start = running_docker if name == "docker" else podman
            engine: Engine = self._stack.enter_context(start(folder, driver, self._suite))
            family = engine.build_family(context(self._folder / "context"))
            self._built[kind] = Built(engine, family)
        return self._built[kind]

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """Each Debian whose engines are tested, in turn."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def engines(suite: str) -> Iterator[Engines]:
    """All engines of a Debian, for tests that choose."""
    with tempfile.TemporaryDirectory(prefix="imgfs-") as folder:  # podman takes only short paths
        engines = Engines(Path(folder), suite)
        try:
            yield engines
        finally:
            engines.close()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A temporary folder whose path is short, as podman and sockets need."""
    with tempfile.TemporaryDirectory(prefix="imgfs-") as folder:
        yield Path(folder)


@pytest.fixture(params=KINDS)
def built(request: pytest.FixtureRequest, engines: Engines) -> Built:
    """Each engine in turn."""
    return engines[request.param]


@pytest.fixture
def store_copy(built: Built, tmp_path: Path) -> tuple[Built, str, Path]:
    """The engine's store copied, to be damaged: what was built, the copy as a source, and where it lies."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for entry in built.engine.root.iterdir():
        if entry.name in COPIED:
            subprocess.run(["cp", "-a", "--one-file-system", entry, copy], check=True)
    return built, f"{built.engine.source.partition(':')[0]}:{copy}", copy


COPIED = (
    "image",
    "overlay2",
    "overlay",
    "vfs",
    "overlay-images",
    "overlay-layers",
    "vfs-images",
    "vfs-layers",
)
