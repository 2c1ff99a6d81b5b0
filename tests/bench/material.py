"""Layers of real files, made once and kept in the work folder."""

import hashlib
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from imgfs.blob import FileBlob, blob_chunks
from imgfs.codec import Compression, open_forward
from tests.images import digest, layer_tar

_CHUNK = 1 << 20
TOPS = ("/usr/share", "/usr/include", "/usr/lib/python3", "/usr/bin", "/usr/lib")
"""Small files first, so that there are as many as in an image of that size."""


@dataclass(frozen=True)
class Blob:
    """A layer's stored bytes in a file, their digest, and that of the tar in them."""

    path: Path
    stored: str
    diff_id: str


def real_tar(
    path: Path, size: int, tops: Sequence[str] = TOPS, *, first: int = 0, ending: bool = True
) -> Path:
    """A tar of at least `size` bytes of this machine's files, from the one with the number `first` on.

    They are in it as often as it takes.
    """
    if not path.exists():
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            archive = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)
            for round_ in range(1000):
                for name in islice(chain.from_iterable(map(_walk, tops)), 0 if round_ else first, None):
                    if archive.offset >= size:
                        break
                    try:
                        archive.add(name, f"{round_}{name}", recursive=False)
                    except PermissionError:
                        continue
                if archive.offset >= size:
                    break
            if ending:
                archive.close()
        partial.rename(path)
    return path


def gzipped(path: Path) -> Path:
    """What gzip -6 makes of a file."""
    packed = path.with_name(path.name + ".gz")
    if not packed.exists():
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            subprocess.run(["gzip", "-6", "-n", "-c", path], stdout=file, check=True)
        partial.rename(packed)
    return packed


def layer(path: Path) -> Blob:
    """A gzip file as a layer."""
    known = path.with_name(path.name + ".json")
    if not known.exists():
        diff_id = hashlib.sha256()
        with FileBlob(path) as blob:
            for chunk in blob_chunks(open_forward(blob, Compression.GZIP)):
                diff_id.update(chunk)
        with path.open("rb") as file:
            stored = hashlib.file_digest(file, "sha256").hexdigest()
        known.write_text(json.dumps([f"sha256:{stored}", f"sha256:{diff_id.hexdigest()}"]))
    return Blob(path, *json.loads(known.read_text()))


def variants(path: Path, count: int) -> list[Blob]:
    """Layers that differ in a last small gzip member only, from a gzip file of a tar without its ending."""
    blobs = []
    for number in range(count):
        variant = path.with_name(f"variant-{number}-{path.name}")
        if not variant.exists():
            subprocess.run(["cp", "--reflink=auto", path, variant], check=True)
            last = layer_tar({f"variant-{number}": b"%d" % number * 100_000})
            with variant.open("ab") as file:
                subprocess.run(["gzip", "-n", "-c"], input=last, stdout=file, check=True)
        blobs.append(layer(variant))
    return blobs


def layout(folder: Path, images: Sequence[Sequence[Blob]]) -> Path:
    """An OCI layout of images of these layers."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(document: object) -> dict[str, object]:
        data = json.dumps(document).encode()
        (blobs / digest(data)[7:]).write_bytes(data)
        return {"digest": digest(data), "size": len(data)}

    entries = []
    for number, layers in enumerate(images):
        for blob in layers:
            target = blobs / blob.stored[7:]
            if not target.exists():
                os.link(blob.path, target)
        config = put(
            {
                "architecture": "amd64",
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [blob.diff_id for blob in layers]},
            }
        )
        kind = "application/vnd.oci.image"
        manifest = {
            "schemaVersion": 2,
            "config": config | {"mediaType": f"{kind}.config.v1+json"},
            "layers": [
                {
                    "mediaType": f"{kind}.layer.v1.tar+gzip",
                    "digest": blob.stored,
                    "size": blob.path.stat().st_size,
                }
                for blob in layers
            ],
        }
        named = {"org.opencontainers.image.ref.name": f"image-{number}"}
        entries.append(put(manifest) | {"mediaType": f"{kind}.manifest.v1+json", "annotations": named})
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def _walk(top: str) -> Iterator[str]:
    for folder, folders, files in os.walk(top):
        folders.sort()
        yield from (os.path.join(folder, name) for name in sorted(folders + files))
