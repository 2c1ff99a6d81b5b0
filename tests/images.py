"""Images made in code for tests: layer tars, configs and archives, from which real tools make other forms."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import zstandard

from imgfs.digest import ImageID

_COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 6, mtime=0),
    "zstd": lambda data: zstandard.compress(data),
    "none": bytes,
}


def layer_tar(files: Mapping[str, bytes | None], *, padding: bool = True) -> bytes:
    """A layer's tar: None makes a directory; times and owners are fixed.

    Without `padding` it ends right after two blocks of zeros, as Go writes tars.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mtime = 1_700_000_000
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    data = buffer.getvalue()
    if padding:
        return data
    content = data.rstrip(b"\0")
    return content + bytes(-len(content) % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class TestImage:
    """An image and the plain bytes of its layers, bottom first."""

    __test__ = False

    layers: Sequence[bytes]
    tags: Sequence[str] = ()
    parent: "TestImage | None" = None
    extra: Mapping[str, object] = field(default_factory=dict)

    @property
    def config(self) -> bytes:
        document = {
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-01-02T03:04:05.678Z",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in self.layers]},
            "history": [{"created_by": f"layer {number}"} for number in range(len(self.layers))],
        }
        return json.dumps(document | dict(self.extra)).encode()

    @property
    def id(self) -> ImageID:
        return ImageID.of(self.config)

    @property
    def verbatim(self) -> bytes:
        return b"".join(self.layers)


def family() -> list[TestImage]:
    """A base, a child of it and a grandchild, of one to four layers that they share."""
    bottom = layer_tar({"bin/": None, "bin/tool": os.urandom(200_000), "empty": b""})
    config = layer_tar({"etc/": None, "etc/passwd": b"root:x:0:0\n" * 1000, "etc/zeros": bytes(50_000)})
    data = layer_tar({f"data/file-{n:04}": b"%d" % n * 300 for n in range(300)}, padding=False)
    top = layer_tar({"etc/.wh.passwd": b"", "long/" + "n" * 150: b"long name"})
    base = TestImage([bottom, config], ["example/base:1"])
    child = TestImage([bottom, config, data], ["example/child:1", "example/child:latest"], base)
    grandchild = TestImage([bottom, config, data, top], ["example/grandchild:1"], child)
    return [base, child, grandchild]


def docker_archive(path: Path, images: Sequence[TestImage]) -> Path:
    """What `docker save` wrote before Docker 25: a layer used twice is a symbolic link the second time."""
    placed: dict[str, str] = {}
    manifest = []
    with tarfile.open(path, "w") as archive:
        for image in images:
            names = []
            for position, layer in enumerate(image.layers):
                name = f"{digest(image.id.encode() + b'%d' % position)[7:]}/layer.tar"
                first = placed.setdefault(digest(layer), name)
                if first == name:
                    _add(archive, name, layer)
                else:
                    link = tarfile.TarInfo(name)
                    link.type, link.linkname = tarfile.SYMTYPE, f"../{first}"
                    archive.addfile(link)
                names.append(name)
            config = f"{image.id[7:]}.json"
            _add(archive, config, image.config)
            item = {"Config": config, "RepoTags": list(image.tags) or None, "Layers": names}
            manifest.append(item | ({"Parent": image.parent.id} if image.parent else {}))
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    return path


def new_docker_archive(path: Path, images: Sequence[TestImage]) -> Path:
    """What `docker save` writes since Docker 25: blobs by digest, and an OCI index beside the manifest."""
    blobs: dict[str, bytes] = {}
    manifest, index = [], []

    def blob(data: bytes, media_type: str) -> dict[str, object]:
        blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    for image in images:
        layers = [blob(layer, "application/vnd.oci.image.layer.v1.tar") for layer in image.layers]
        config = blob(image.config, "application/vnd.oci.image.config.v1+json")
        oci = json.dumps({"schemaVersion": 2, "config": config, "layers": layers}).encode()
        entry = blob(oci, "application/vnd.oci.image.manifest.v1+json")
        for tag in image.tags:
            index.append(entry | {"annotations": {"io.containerd.image.name": tag}})
        names = [_blob_name(str(layer["digest"])) for layer in layers]
        item = {"Config": _blob_name(image.id), "RepoTags": list(image.tags) or None, "Layers": names}
        manifest.append(item | ({"Parent": image.parent.id} if image.parent else {}))
    with tarfile.open(path, "w") as archive:
        for name, data in blobs.items():
            _add(archive, _blob_name(name), data)
        _add(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": index}).encode())
        _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    return path


_OCI_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+",
)
_DOCKER_TYPES = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.",
)


def oci_layout(
    path: Path, images: Sequence[TestImage], compression: str = "gzip", *, with_docker_types: bool = False
) -> Path:
    """An OCI image layout directory, its layers stored with gzip or zstd, or as they are."""
    manifest_type, config_type, layer_type = _DOCKER_TYPES if with_docker_types else _OCI_TYPES
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, media_type: str) -> dict[str, object]:
        (blobs / digest(data)[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    manifests = []
    for image in images:
        layers = [blob(_COMPRESS[compression](layer), layer_type + compression) for layer in image.layers]
        config = blob(image.config, config_type)
        media_type = {"mediaType": manifest_type} if with_docker_types else {}
        content = {"schemaVersion": 2, **media_type, "config": config, "layers": layers}
        entry = blob(json.dumps(content).encode(), manifest_type)
        for tag in image.tags:
            manifests.append(entry | {"annotations": {"org.opencontainers.image.ref.name": tag}})
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return path


def _blob_name(name: str) -> str:
    return "blobs/" + name.replace(":", "/")


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
