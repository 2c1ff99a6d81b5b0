"""The images of the soak in sources of all kinds, as real tools and engines keep them."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.engines.containerd import archives, running_containerd
from tests.engines.engine import podman, running_docker
from tests.images import TestImage, docker_archive, new_docker_archive, oci_layout

Make = Callable[[Path, Sequence[TestImage], ExitStack], str]


def _own(folder: Path, images: Sequence[TestImage], stack: ExitStack) -> str:
    archive = docker_archive(folder / "images.tar", images)
    command = [sys.executable, "-m", "imgfs", "load", "-q", "--store", str(folder / "store"), str(archive)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return f"imgfs:{folder / 'store'}"


def _layout(folder: Path, images: Sequence[TestImage], stack: ExitStack) -> str:
    return f"oci:{oci_layout(folder / 'layout', images)}"


def _zstd_layout(folder: Path, images: Sequence[TestImage], stack: ExitStack) -> str:
    return f"oci:{oci_layout(folder / 'layout', images, 'zstd')}"


def _oci_archive(folder: Path, images: Sequence[TestImage], stack: ExitStack) -> str:
    layout = oci_layout(folder / "layout", images)
    subprocess.run(["tar", "-C", str(layout), "-cf", str(folder / "layout.tar"), "."], check=True)
    return f"oci-archive:{folder / 'layout.tar'}"


def _old_archive(folder: Path, images: Sequence[TestImage], stack: ExitStack) -> str:
    return f"docker-archive:{docker_archive(folder / 'images.tar', images)}"


def _new_archive(folder: Path, images: Sequence[TestImage], stack: ExitStack) -> str:
    return f"docker-archive:{new_docker_archive(folder / 'images.tar', images)}"


def _docker(folder: Path, images: Sequence[TestImage], stack: ExitStack) -> str:
    engine = stack.enter_context(running_docker(folder, "overlay2"))
    engine.load(docker_archive(folder / "images.tar", images))
    return engine.source


def _podman(folder: Path, images: Sequence[TestImage], stack: ExitStack) -> str:
    engine = stack.enter_context(podman(folder, "overlay"))
    engine.load(docker_archive(folder / "images.tar", images))
    return engine.source


def _containerd(folder: Path, images: Sequence[TestImage], stack: ExitStack) -> str:
    engine = stack.enter_context(running_containerd(folder))
    for archive in archives(folder, images):
        engine.load(archive)
    return f"containerd:{engine.root}"


PLAIN: Mapping[str, Make] = {
    "own": _own,
    "oci": _layout,
    "oci-zstd": _zstd_layout,
    "oci-archive": _oci_archive,
    "docker-archive": _old_archive,
    "docker-archive-new": _new_archive,
}
"""Sources that take no engine."""

ALL: Mapping[str, Make] = {
    **PLAIN,
    "docker": _docker,
    "podman": _podman,
    "containerd": _containerd,
}


@contextmanager
def spread(folder: Path, images: Sequence[TestImage], kinds: Mapping[str, Make]) -> Iterator[list[str]]:
    """The images spread over a source of each kind, as references; engines run as long as the `with`."""
    with ExitStack() as stack:
        references = []
        for number, (kind, make) in enumerate(kinds.items()):
            place = folder / kind
            place.mkdir()
            references.append(make(place, images[number :: len(kinds)], stack))
        yield references
