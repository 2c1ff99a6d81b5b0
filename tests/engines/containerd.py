"""A containerd of one's own, in a folder of its own, and images brought into it by real tools."""

import os
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import eventually
from tests.images import TestImage, oci_layout
from tests.tools import require_tool

_CONFIG = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{folder}/grpc.sock"
[ttrpc]
address = "{folder}/ttrpc.sock"
"""


class Containerd:
    """A running containerd; `root` is where it keeps everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self._ctr = require_tool("ctr")

    @property
    def database(self) -> Path:
        return self.root / "io.containerd.metadata.v1.bolt/meta.db"

    @property
    def blobs(self) -> Path:
        return self.root / "io.containerd.content.v1.content/blobs/sha256"

    def ctr(self, *arguments: str | Path, namespace: str = "default", check: bool = True) -> str:
        """Run `ctr`; answers what it prints."""
        command = [self._ctr, "-a", self.folder / "grpc.sock", "-n", namespace, *arguments]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def load(self, archive: Path, *options: str, namespace: str = "default") -> None:
        """Import an archive without unpacking it."""
        self.ctr("images", "import", "--no-unpack", *options, archive, namespace=namespace)

    def remove(self, *names: str, namespace: str = "default") -> None:
        """Remove images, and what only they need, at once."""
        self.ctr("images", "rm", "--sync", *names, namespace=namespace)

    def collect_garbage(self) -> None:
        """Let everything go now that nothing needs, so that nothing changes by itself later."""
        self.ctr("leases", "create", "--id", "passing")
        self.ctr("leases", "rm", "--sync", "passing")


@contextmanager
def running_containerd(folder: Path) -> Iterator[Containerd]:
    """A containerd that runs as long as the `with`."""
    config = folder / "config.toml"
    config.write_text(_CONFIG.format(folder=folder))
    made = Containerd(folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([require_tool("containerd"), "-c", str(config)], stdout=log, stderr=log)
    try:
        assert eventually(lambda: (folder / "grpc.sock").exists(), 20), (folder / "log").read_text()
        assert eventually(lambda: bool(made.ctr("version", check=False)), 20), (folder / "log").read_text()
        yield made
    finally:
        process.terminate()
        process.wait(20)


def archives(folder: Path, images: Sequence[TestImage], *options: str) -> list[Path]:
    """An OCI archive of each name of each image, made by skopeo with some options."""
    skopeo = require_tool("skopeo")
    layout = oci_layout(folder / "layout", images)
    made = []
    for image in images:
        for tag in image.tags:
            path = folder / f"{tag.replace('/', '_').replace(':', '_')}.tar"
            command = [skopeo, "copy", "-q", *options, f"oci:{layout}:{tag}", f"oci-archive:{path}:{tag}"]
            subprocess.run(command, check=True)
            made.append(path)
    return made


def archive_of(layout: Path) -> Path:
    """A layout as an OCI archive."""
    path = layout.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        archive.add(layout, ".")
    return path


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below a folder, with size, modification and change times."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = os.lstat(path)
        found[str(path)] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found
