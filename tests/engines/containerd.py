"""A containerd of one's own, in a folder of its own, and images brought into it by real tools."""

import gzip
import json
import os
import socket
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import eventually
from tests.engines.machine import HOST, Machine, machine
from tests.images import TestImage, digest, oci_layout
from tests.tools import require_tool

CONFIG = """
version = 2
root = "{root}"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{folder}/grpc.sock"
[ttrpc]
address = "{folder}/ttrpc.sock"
"""
_MEDIA_TYPE = "application/vnd.oci."


class Containerd:
    """A running containerd; `root` is where it keeps everything."""

    def __init__(self, inside: Machine, root: Path, socket: Path) -> None:
        self.inside = inside
        self.root = root
        self.socket = socket
        self._ctr = inside.line("ctr", "-a", socket)

    @property
    def database(self) -> Path:
        return self.root / "io.containerd.metadata.v1.bolt/meta.db"

    @property
    def blobs(self) -> Path:
        return self.root / "io.containerd.content.v1.content/blobs/sha256"

    def ctr(self, *arguments: str | Path, namespace: str = "default", check: bool = True) -> str:
        """Run `ctr`; answers what it prints."""
        command = [*self._ctr, "-n", namespace, *arguments]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def pull(self, *arguments: str, namespace: str = "default") -> None:
        """Pull what is asked for and nothing else, as ctr 1 does.

        containerd 2 itself unpacks only into its own snapshotter, and its ctr pulls configs of other platforms, too.
        """
        known = self.ctr("images", "pull", "--help")
        as_before = [option for option in ("--local", "--skip-metadata") if option in known]
        self.ctr("images", "pull", *as_before, *arguments, namespace=namespace)

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
def running_containerd(folder: Path, suite: str = HOST) -> Iterator[Containerd]:
    """A containerd that runs as long as the `with`, in a machine of its own."""
    with machine(suite) as inside, containerd(inside, folder, folder / "root") as running:
        yield running


@contextmanager
def containerd(inside: Machine, folder: Path, root: Path, more: str = "") -> Iterator[Containerd]:
    """The same in a machine that is running, with images in `root` and all else in `folder`.

    `more` is what else its configuration has.
    """
    config, log, made = folder / "config.toml", folder / "log", Containerd(inside, root, folder / "grpc.sock")
    config.write_text(CONFIG.format(folder=folder, root=root) + more)
    with inside.running(log, "containerd", "-c", config):
        assert eventually(made.socket.exists), log.read_text()
        assert eventually(lambda: bool(made.ctr("version", check=False))), log.read_text()
        yield made


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


def multi_platform_layout(path: Path, images: Mapping[str, TestImage], tag: str) -> Path:
    """A layout whose tag is an index of one image for each architecture, with media types everywhere."""
    blobs = path / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, kind: str, **more: object) -> dict[str, object]:
        (blobs / digest(data)[7:]).write_bytes(data)
        return {"mediaType": f"{_MEDIA_TYPE}{kind}", "digest": digest(data), "size": len(data)} | more

    def document(kind: str, **content: object) -> bytes:
        return json.dumps({"schemaVersion": 2, "mediaType": f"{_MEDIA_TYPE}{kind}"} | content).encode()

    manifests = []
    for architecture, image in images.items():
        layers = [blob(gzip.compress(layer), "image.layer.v1.tar+gzip") for layer in image.layers]
        config = blob(image.config, "image.config.v1+json")
        manifest = document("image.manifest.v1+json", config=config, layers=layers)
        platform = {"os": "linux", "architecture": architecture}
        manifests.append(blob(manifest, "image.manifest.v1+json", platform=platform))
    index = blob(document("image.index.v1+json", manifests=manifests), "image.index.v1+json")
    index["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (path / "index.json").write_bytes(document("image.index.v1+json", manifests=[index]))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return path


@contextmanager
def running_registry(folder: Path) -> Iterator[str]:
    """A registry on this machine, `HOST:PORT`, that runs as long as the `with`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": address},
    }
    (folder / "registry.json").write_text(json.dumps(config))
    command = [require_tool("docker-registry"), "serve", str(folder / "registry.json")]
    with (folder / "registry-log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        assert eventually(lambda: b"listening on" in (folder / "registry-log").read_bytes())
        yield address
    finally:
        process.terminate()
        process.wait(20)


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
