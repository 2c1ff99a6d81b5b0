"""Reading images in a registry in place, against `skopeo copy` of them: requests, bytes and time of each question.

The registry is docker-registry on this machine, whose log tells the requests and the bytes that it has sent. Each
question is asked by a new process with an empty cache.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import material
from tests.bench.report import Row, seconds

_SIZES = {"10 MB": 10_000_000, "100 MB": 100_000_000, "1 GB": 1_000_000_000, "1.7 GB": 1_700_000_000}
_TOPS = ("/usr/include", "/usr/lib")  # small files first, and then large ones, as large images have both
_LARGE, _LARGEST = "1 GB", "1.7 GB"
_IMGFS = (sys.executable, "-m", "imgfs")
_SOCI = 2.2  # per cent of a layer, as its project states for its index


@dataclass(frozen=True)
class Cost:
    """What an answer took."""

    seconds: float
    requests: int
    bytes: int
    layer_bytes: int

    def __str__(self) -> str:
        return f"{self.requests} requests, {self.bytes / 1e6:.2f} MB, {self.seconds:.2f} s"


class Registry:
    """A docker-registry at `address`, and its log."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._log = folder / "log"
        self._seen = 0
        self.layers: set[str] = set()
        config = {
            "version": 0.1,
            "log": {"formatter": "json", "level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
            "http": {"addr": self.address},
        }
        (folder / "config.yml").write_text(json.dumps(config))
        with self._log.open("wb") as log:
            command = ["docker-registry", "serve", str(folder / "config.yml")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://{self.address}/v2/").close()
                break
            except OSError:
                time.sleep(0.1)

    def take(self) -> tuple[int, int, int]:
        """Requests, bytes and bytes of layers since the last call."""
        time.sleep(0.3)  # a line is written after its response
        with self._log.open("rb") as log:
            log.seek(self._seen)
            lines = log.read().splitlines()
            self._seen = log.tell()
        served = [json.loads(line) for line in lines if b'"msg":"response completed' in line]
        sent = [(str(each["http.request.uri"]), int(each["http.response.written"])) for each in served]
        of_layers = sum(size for uri, size in sent if uri.rpartition("/")[2] in self.layers)
        return len(sent), sum(size for _, size in sent), of_layers


def run(work: Path, repeats: int) -> Sequence[Row]:
    """All rows. Makes 6 GB of material the first time, which takes some minutes; bytes and requests are exact."""
    with tempfile.TemporaryDirectory(dir=work) as name, _serving(Path(name)) as registry:
        scratch = Path(name)
        rows: list[Row] = []
        for label, size in _SIZES.items():
            image = _Image(work, scratch, registry, label, size)
            rows += image.rows(repeats)
            shutil.rmtree(scratch / "copy", ignore_errors=True)
        return rows


@contextmanager
def _serving(folder: Path) -> Iterator[Registry]:
    registry = Registry(folder)
    try:
        yield registry
    finally:
        registry.process.kill()
        registry.process.wait()


class _Image:
    """An image of one layer, pushed to a registry."""

    def __init__(self, work: Path, scratch: Path, registry: Registry, label: str, size: int) -> None:
        name = label.replace(" ", "").replace(".", "-").lower()
        tar = material.real_tar(work / f"registry-{name}.tar", size, _TOPS)
        self._blob = material.layer(material.gzipped(tar))
        self._layout = material.layout(work / f"registry-{name}", [[self._blob]])
        self._label, self._registry, self._scratch = label, registry, scratch
        self.name = f"docker://{registry.address}/bench/{name}:1"
        self._skopeo = ("skopeo", "copy", "-q", "--src-tls-verify=false")
        subprocess.run(
            ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{self._layout}:image-0", self.name],
            check=True,
        )
        registry.layers.add(self._blob.stored)
        self._stored = self._blob.path.stat().st_size
        listed = subprocess.run(["tar", "tf", tar], capture_output=True, text=True, check=True).stdout.split()
        files = [path for path in listed if not path.endswith("/")]
        self._path = files[len(files) * 2 // 3]

    def rows(self, repeats: int) -> Iterator[Row]:
        """The questions, each the median of `repeats`, those that take long asked once."""
        is_large = self._label == _LARGE
        theirs = min(seconds(self._copy_and_extract) for _ in range(1 if self._stored > 1e8 else repeats))
        cat = ("cat", f"{self.name}:/{self._path}")
        without = self._cost(*cat)
        yield self._row("one file, no index", without, theirs, 1.0)
        yield self._whole()
        index_size = self._push_index()
        share = 100 * index_size / self._stored
        row = f"{index_size / 1e6:.2f} MB, {share:.2f} % of the layer (SOCI's: {_SOCI} %)"
        yield Row(f"{self._label}: index", row, "at most 0.7 %", share <= 0.7 if self._stored > 1e8 else None)
        found = min((self._cost(*cat) for _ in range(repeats)), key=lambda cost: cost.seconds)
        yield self._row("one file, with the index", found, theirs, 1 / 20 if is_large else None, 2_000_000)
        listing = self._cost("find", self.name, "**")
        limit = 1_000_000 if self._label == _LARGEST else None
        met = None if limit is None else listing.bytes < limit and not listing.layer_bytes
        target = "" if limit is None else "under 1 MB, nothing of the layer"
        yield Row(f"{self._label}: list the root file system", str(listing), target, met)

    def _row(self, what: str, cost: Cost, theirs: float, most: float | None, limit: int | None = None) -> Row:
        figure = f"{cost}; skopeo copy and tar {theirs:.2f} s: {theirs / cost.seconds:.1f} times faster"
        targets = [] if most is None else [f"at least {1 / most:g} times faster"]
        targets += [] if limit is None else [f"under {limit / 1e6:g} MB"]
        met = (most is None or cost.seconds <= most * theirs) and (limit is None or cost.bytes < limit)
        return Row(f"{self._label}: {what}", figure, ", ".join(targets), met if targets else None)

    def _whole(self) -> Row:
        """The whole image read once in order, with nothing in the cache."""
        ours = self._cost("export", "--tar", "rootfs", self.name)
        theirs = seconds(self._copy_and_read)
        ratio = ours.bytes / self._stored
        figure = f"{ours}, {ratio:.2f} times its blobs; skopeo copy and reading {theirs:.2f} s"
        met = ratio <= 1.15 and ours.seconds <= theirs
        return Row(f"{self._label}: read whole", figure, "at most 1.15 times its blobs, no slower", met)

    def _cost(self, *arguments: str) -> Cost:
        with tempfile.TemporaryDirectory(dir=self._scratch) as cache:
            self._registry.take()
            environment = os.environ | {"XDG_CACHE_HOME": cache}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as where imgfs is installed
            command = [*_IMGFS, arguments[0], "--tls-verify=false", *arguments[1:]]
            taken = seconds(
                lambda: subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            )
            return Cost(taken, *self._registry.take())

    def _push_index(self) -> int:
        """The bytes that the index takes in the registry."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as cache:
            environment = os.environ | {"XDG_CACHE_HOME": cache}
            command = [*_IMGFS, "index", "--tls-verify=false", "--push", self.name]
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        digest = self._manifest("1")[1]
        artifact, _ = self._manifest(f"{digest.replace(':', '-')}.imgfs")
        return sum(part["size"] for part in artifact["layers"])

    def _manifest(self, reference: str) -> tuple[dict[str, list[dict[str, int]]], str]:
        path = self.name.removeprefix(f"docker://{self._registry.address}/").removesuffix(":1")
        request = urllib.request.Request(
            f"http://{self._registry.address}/v2/{path}/manifests/{reference}",
            headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response), str(response.headers["Docker-Content-Digest"])

    def _copy(self) -> Path:
        target = self._scratch / "copy"
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run([*self._skopeo, self.name, f"oci:{target}:1"], check=True)
        return target / "blobs/sha256" / self._blob.stored[7:]

    def _copy_and_extract(self) -> None:
        subprocess.run(["tar", "xOzf", str(self._copy()), self._path], stdout=subprocess.DEVNULL, check=True)

    def _copy_and_read(self) -> None:
        subprocess.run(["gzip", "-dc", self._copy()], stdout=subprocess.DEVNULL, check=True)
