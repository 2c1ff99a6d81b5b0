"""Fixtures that the tests of several packages use."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.forking import Forks
from tests.images import TestImage, docker_archive, family
from tests.registry.serving import docker_registry
from tests.tools import require_root

# How busy the machine is, is no property of the code. In CI examples are the same at every run, so that a change does
# not fail by chance; runs elsewhere look for new ones.
settings.register_profile("patient", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("patient")


def pytest_configure() -> None:
    """Signals end what tests start, even if pytest was started to ignore them, as nohup and shells in scripts do."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)  # a program that is started does not inherit this


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With pytest-xdist tests are dealt out by `Groups`."""
    from tests.parallel import Groups  # needs pytest-xdist

    return Groups(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Reports that workers send hold no surrogates, as of names that are not UTF-8: they cannot be sent."""
    return _sendable((yield))


def _sendable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _sendable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_sendable, value))
    return value


Imgfs = Callable[..., subprocess.CompletedProcess[bytes]]
Mount = Callable[..., AbstractContextManager[Path]]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data and caches of the program under test lie in the test's own folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Starts the command without the time that importing it takes."""
    started = Forks(tmp_path_factory.mktemp("forks"))
    yield started
    started.close()


@pytest.fixture
def imgfs(environment: None, forks: Forks) -> Imgfs:
    """Runs the command in a process of its own: `imgfs("ls", "--json", status=0, stdin=b"")`; None is any status."""

    def run(
        *arguments: str | Path, status: int | None = 0, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        if forks.suit(os.environ):
            done = forks.run(list(map(str, arguments)), stdin, 120)
        else:
            command = [sys.executable, "-m", "imgfs", *map(str, arguments)]
            done = subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=120)
        assert status in (None, done.returncode), done.stderr.decode()
        assert b"Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def mount(imgfs: Imgfs, tmp_path: Path) -> Mount:
    """Mounts sources for the length of a `with`: `with mount("oci:…", options="tar=verbatim") as top`."""

    @contextmanager
    def mounted(*sources: str | Path, options: str = "") -> Iterator[Path]:
        top = tmp_path / "mnt"
        top.mkdir(exist_ok=True)
        log = tmp_path / "log"
        imgfs("mount", "--log-file", log, *(["-o", options] if options else []), *sources, top)
        try:
            yield top
        finally:
            if "kernel" in options.split(","):
                # busy as long as a process has copies of all mounts, as one that another test has just started
                assert eventually(lambda: imgfs("umount", top, status=None).returncode == 0)
            else:
                imgfs("umount", top)
            assert not os.path.ismount(top)
            assert "Traceback" not in (log.read_text() if log.exists() else "")

    return mounted


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 4 MB."""
    require_root()
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "imgfs-test", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns so often that they meet everywhere."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.fixture(scope="session")
def images() -> list[TestImage]:
    """A family of images; see `tests.images.family`."""
    return family()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that the tests of a module share, as `HOST:PORT`."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def archive(tmp_path: Path, images: list[TestImage]) -> Path:
    """The family as a docker archive."""
    return docker_archive(tmp_path / "family.tar", images)


def eventually(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether something becomes true within some seconds, many of which only a busy machine needs."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
